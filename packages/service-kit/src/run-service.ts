import { isAppErrorCode } from './errors.ts';
import { withinLimit } from './lifecycle.ts';
import { createLogger, type Logger, type LogLevel } from './logger.ts';
import { parseCommand, type Command, type ServeFlags } from './serve-flags.ts';

type RunningService = { stop(): Promise<void> };
type RunServiceOptions = {
  name: string;
  start: (flags: ServeFlags) => Promise<RunningService>;
  argv?: readonly string[];
  log?: Logger;
};

/** Above what one part may take to close (12 s), below the 30 s after which the container is killed. */
const STOP_LIMIT_MS = 25_000;
const HEALTH_LIMIT_MS = 3_000;
const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * The main function of every service: `serve` runs it until SIGTERM or SIGINT (stopped within 25 s, exit 0; a second
 * signal ends it at once), `health` asks its /readyz and exits 0 or 1. A wrong command line exits 2, a failed start
 * or an unhandled rejection is logged and exits 1.
 */
export async function runService(options: RunServiceOptions): Promise<void> {
  const command = readCommand(options);
  if (command === undefined) process.exit(2);
  if (command.kind === 'health') process.exit(await askHealth(command.port));
  await serve(options, command.flags);
}

function readCommand({ name, argv }: RunServiceOptions): Command | undefined {
  try {
    return parseCommand(name, argv ?? process.argv.slice(2));
  } catch (error) {
    if (!isAppErrorCode(error, 'USAGE')) throw error;
    process.stderr.write(`${error.message}\n`);
    return undefined;
  }
}

async function serve({ name, start, log: given }: RunServiceOptions, flags: ServeFlags): Promise<void> {
  const log = given ?? createLogger({ service: name, level: readLogLevel(process.env['LOG_LEVEL']) });
  const startedAtMs = performance.now();
  const asked = onFirstSignal(log);
  for (const failure of ['unhandledRejection', 'uncaughtException'] as const) {
    process.on(failure, (error: unknown) => {
      log.error('service.crashed', { failure, error });
      process.exit(1);
    });
  }

  // A service ends when it is told to, not when nothing it opened happens to keep the process alive.
  setInterval(() => undefined, 60_000);
  const running = await startOrExit(start, flags, log);
  log.info('service.started', { ...flags, pid: process.pid, startMs: Math.round(performance.now() - startedAtMs) });
  const signal = await asked;
  const stoppingAtMs = performance.now();
  try {
    await withinLimit(running.stop(), STOP_LIMIT_MS, 'stop');
  } catch (error) {
    log.error('service.stop_failed', { error });
  }
  log.info('service.stopped', { signal, stopMs: Math.round(performance.now() - stoppingAtMs) });
  process.exit(0);
}

async function startOrExit(start: RunServiceOptions['start'], flags: ServeFlags, log: Logger): Promise<RunningService> {
  try {
    return await start(flags);
  } catch (error) {
    log.error('service.start_failed', { error });
    return process.exit(1);
  }
}

/** Resolves on the first signal, also one that comes while the service still starts; the second one ends the process. */
function onFirstSignal(log: Logger): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let signals = 0;
    const receive = (signal: keyof typeof SIGNAL_EXIT_CODES): void => {
      signals += 1;
      if (signals > 1) process.exit(SIGNAL_EXIT_CODES[signal]);
      log.info('service.stopping', { signal });
      resolve(signal);
    };
    process.on('SIGTERM', receive);
    process.on('SIGINT', receive);
  });
}

async function askHealth(port: number): Promise<0 | 1> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(HEALTH_LIMIT_MS) });
    process.stdout.write(answer.ok ? 'ready\n' : `not ready: ${(await answer.text()).slice(0, 1_000)}\n`);
    return answer.ok ? 0 : 1;
  } catch {
    process.stdout.write(`no answer on port ${port}\n`);
    return 1;
  }
}

/** An unknown level is no reason not to start. */
function readLogLevel(text: string | undefined): LogLevel {
  return text === 'debug' || text === 'warn' || text === 'error' ? text : 'info';
}
