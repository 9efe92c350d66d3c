import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

export const root = path.resolve(import.meta.dirname, '../..');
export type ServiceName = 'adapter' | 'agent-core' | 'outbound-sender';
export const serviceProgram = (service: ServiceName): string => path.join('services', service, 'src', 'main.ts');

/** A program with an HTTP door, running beside the bench; its log goes to a file. */
export type BenchProcess = { name: string; pid: number; url: string; readyMs: number; stop(): Promise<void> };

/** Every program is started as the image starts services (bin/, deploy/Dockerfile): this flag, sources compiled once. */
const asInTheImage = {
  flags: ['--max-semi-space-size=2'],
  env: { NODE_COMPILE_CACHE: path.join(tmpdir(), 'steward-bench-compile-cache') },
};

const readyLimitMs = 60_000;
const stopLimitMs = 20_000;
const living = new Set<number>();
process.on('exit', () => {
  for (const pid of living) signal(pid, 'SIGKILL');
});

/** Starts `node <program> serve` and resolves when it says 200 on /readyz; `readyMs` counts from before the process exists. */
export async function startBenchProcess(o: {
  name: string;
  program: string;
  env: Record<string, string>;
  folder: string;
  nodeArgs: readonly string[];
  /** Unless told otherwise /readyz. */
  readyPath?: '/healthz' | '/readyz';
}): Promise<BenchProcess> {
  const port = await findFreePort();
  const logFile = path.join(o.folder, `${o.name}.log`);
  const log = openSync(logFile, 'w');
  const startedAt = performance.now();
  const serve = ['serve', '--host', '127.0.0.1', '--port', String(port)];
  const child = spawn(process.execPath, [...asInTheImage.flags, ...o.nodeArgs, o.program, ...serve], {
    cwd: root,
    env: { PATH: process.env.PATH, ...asInTheImage.env, ...o.env },
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const { pid } = child;
  if (pid === undefined) throw new Error(`${o.name} cannot be started`);
  living.add(pid);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      living.delete(pid);
      resolve();
    });
  });
  const url = `http://127.0.0.1:${port}`;
  while (!(await answersReady(`${url}${o.readyPath ?? '/readyz'}`))) {
    if (!living.has(pid) || performance.now() - startedAt > readyLimitMs) {
      signal(pid, 'SIGKILL');
      throw new Error(`${o.name} did not become ready; its log:\n${tailOf(logFile)}`);
    }
    await pause(5);
  }
  const readyMs = performance.now() - startedAt;
  const stop = async () => {
    signal(pid, 'SIGTERM');
    const timer = setTimeout(() => signal(pid, 'SIGKILL'), stopLimitMs);
    await exited;
    clearTimeout(timer);
  };
  return { name: o.name, pid, url, readyMs, stop };
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function answersReady(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get(url, { timeout: 2_000, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(false));
  });
}

async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

const tailOf = (file: string): string => (existsSync(file) ? readFileSync(file, 'utf8').slice(-3_000) : '(none)');

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended by itself.
  }
}
