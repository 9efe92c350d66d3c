import { parseArgs } from 'node:util';
import { AppError } from './errors.ts';

/** What `serve` was told: where to listen, and whether tool calls are logged with their arguments (redacted). */
export type ServeFlags = { host: string; port: number; logToolCalls: boolean };

export type Command = { kind: 'serve'; flags: ServeFlags } | { kind: 'health'; port: number };

const DEFAULT_PORT = '8080';

/** Reads `serve` or `health` and their flags. Throws AppError USAGE that says what was wrong and what is possible. Pure. */
export function parseCommand(service: string, argv: readonly string[]): Command {
  const [verb, ...rest] = argv;
  if (verb === 'serve') {
    const flags = parseFlags(service, rest, ['host', 'port', 'log-tool-calls']);
    return {
      kind: 'serve',
      flags: {
        // Everyone's address only when asked for: a service started by hand is nobody else's business.
        host: flags.get('host') ?? '127.0.0.1',
        port: parsePort(service, flags.get('port') ?? DEFAULT_PORT),
        logToolCalls: parseBoolean(service, 'log-tool-calls', flags.get('log-tool-calls') ?? 'false'),
      },
    };
  }
  if (verb === 'health') {
    const flags = parseFlags(service, rest, ['port']);
    return { kind: 'health', port: parsePort(service, flags.get('port') ?? DEFAULT_PORT) };
  }
  throw usage(service, verb === undefined ? 'a command is missing' : 'this command does not exist');
}

function parseFlags(service: string, argv: readonly string[], names: readonly string[]): Map<string, string> {
  const options = Object.fromEntries(names.map((name) => [name, { type: 'string' as const }]));
  try {
    const { values } = parseArgs({ args: [...argv], options, strict: true, allowPositionals: false });
    return new Map(Object.entries(values).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
  } catch (error) {
    throw usage(service, error instanceof Error ? error.message : 'the flags cannot be read');
  }
}

function parsePort(service: string, text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535) throw usage(service, '--port is a number from 0 to 65535');
  return port;
}

function parseBoolean(service: string, flag: string, text: string): boolean {
  if (text !== 'true' && text !== 'false') throw usage(service, `--${flag} is true or false`);
  return text === 'true';
}

function usage(service: string, why: string): AppError {
  const text = [
    why,
    `usage: ${service} serve [--host 127.0.0.1] [--port 8080] [--log-tool-calls true|false]`,
    `       ${service} health [--port 8080]`,
  ].join('\n');
  return new AppError('USAGE', text, { retryable: false });
}
