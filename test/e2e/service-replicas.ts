import { createServer } from 'node:net';
import path from 'node:path';
import { startProcess, waitUntil, type TestProcess } from '@steward/testkit';

export type ServiceName = 'adapter' | 'agent-core' | 'outbound-sender' | 'audit-sealer';
export const root = path.resolve(import.meta.dirname, '../..');

/** One replica of a service: an operating system process that can be killed and started again at the same address. */
export type Replica = {
  service: ServiceName;
  url: string;
  /** Starts the process and, unless told otherwise, waits until /readyz says yes. `env`: for this life alone. */
  start(o?: { untilReady?: boolean; env?: Record<string, string> }): Promise<void>;
  waitUntilReady(): Promise<void>;
  /** Sends the signal and waits until the process is gone. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Sends a signal that the process lives through. */
  signal(signal: NodeJS.Signals): void;
  /** What /readyz says. */
  readiness(): Promise<Record<string, { ok: boolean; detail?: string }>>;
  /** Everything that this replica wrote, in all its lives. */
  output(): string;
};

const startLimitMs = 60_000;

export async function createReplica(o: {
  service: ServiceName;
  number: number;
  env: Record<string, string>;
}): Promise<Replica> {
  const { service, env } = o;
  const port = await findFreePort();
  const url = `http://127.0.0.1:${port}`;
  const lives: TestProcess[] = [];
  const waitUntilReady = async () => {
    const isReady = async () => (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5_000) })).ok;
    await waitUntil(isReady, { timeoutMs: startLimitMs, what: `${service} to be ready` });
  };
  return {
    service,
    url,
    start: async ({ untilReady = true, env: further = {} } = {}) => {
      const program = path.join(root, 'services', service, 'src', 'main.ts');
      const args = [program, 'serve', '--host', '127.0.0.1', '--port', String(port)];
      const life = startProcess({
        name: `${service} ${o.number}`,
        command: process.execPath,
        args,
        env: { ...env, ...further },
        cwd: root,
      });
      lives.push(life);
      await life.waitForOutput('service.started', { timeoutMs: startLimitMs });
      if (untilReady) await waitUntilReady();
    },
    waitUntilReady,
    kill: async (signal) => {
      lives.at(-1)?.kill(signal);
      await lives.at(-1)?.exited;
    },
    signal: (signal) => lives.at(-1)?.kill(signal),
    readiness: async () => {
      const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5_000) });
      return (await answer.json()) as Record<string, { ok: boolean; detail?: string }>;
    },
    output: () => lives.map((life) => life.output()).join('\n'),
  };
}

async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
