import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { parseCommand } from './serve-flags.ts';

// A busy machine may need seconds to start one of these processes, and some tests start several.
jest.setTimeout(60_000);

const running = new Set<ChildProcess>();
afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
});

const KIT = fileURLToPath(new URL('./index.ts', import.meta.url));

/** A whole service in a process of its own. `start` is the source of its start function. */
function runProcess(start: string, argv: string[]) {
  const source = `
    import { runService, listen, createHttpApp, createLogger, createMetrics } from ${JSON.stringify(KIT)};
    await runService({ name: 'probe', argv: process.argv.slice(1), start: ${start} });`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source, '--', ...argv], {
    env: { PATH: process.env['PATH'], NODE_OPTIONS: '' },
  });
  running.add(child);
  child.once('close', () => running.delete(child));
  let output = '';
  let errors = '';
  const waiting = new Set<() => void>();
  child.stdout.on('data', (part: Buffer) => {
    output += String(part);
    for (const look of waiting) look();
  });
  child.stderr.on('data', (part: Buffer) => (errors += String(part)));
  const exited = new Promise<{ code: number | null; output: string; errors: string }>((resolve) => {
    child.once('close', (code) => resolve({ code, output, errors }));
  });
  const says = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (output.includes(text)) resolve();
      };
      waiting.add(look);
      void exited.then(() => reject(new Error(`exited before saying ${text}: ${output}${errors}`)));
      look();
    });
  return { child, says, exited, output: () => output };
}

const STOPS_WELL = `async () => ({ stop: async () => {} })`;
const NEVER_STOPS = `async () => ({ stop: () => new Promise((resolve) => setTimeout(resolve, 60_000)) })`;

describe('runService', () => {
  it('starts, says so in one line, and stops on SIGTERM with exit code 0', async () => {
    const service = runProcess(STOPS_WELL, ['serve', '--host', '0.0.0.0', '--port', '0', '--log-tool-calls', 'true']);
    await service.says('service.started');
    service.child.kill('SIGTERM');
    const { code, output } = await service.exited;
    expect(code).toBe(0);
    const lines = output
      .trim()
      .split('\n')
      .map((line): unknown => JSON.parse(line));
    expect(lines).toEqual([
      expect.objectContaining({
        event: 'service.started',
        service: 'probe',
        host: '0.0.0.0',
        port: 0,
        logToolCalls: true,
      }),
      expect.objectContaining({ event: 'service.stopping', signal: 'SIGTERM' }),
      expect.objectContaining({ event: 'service.stopped', signal: 'SIGTERM' }),
    ]);
  });

  it('ends at once on the second signal', async () => {
    const service = runProcess(NEVER_STOPS, ['serve', '--port', '0']);
    await service.says('service.started');
    service.child.kill('SIGINT');
    await service.says('service.stopping');
    service.child.kill('SIGTERM');
    expect((await service.exited).code).toBe(143);
  });

  it('gives a stop that never ends 25 seconds', async () => {
    const service = runProcess(NEVER_STOPS, ['serve', '--port', '0']);
    await service.says('service.started');
    service.child.kill('SIGTERM');
    const { code, output } = await service.exited;
    expect(code).toBe(0);
    expect(output).toContain('service.stop_failed');
    expect(Number(/"stopMs":(\d+)/.exec(output)?.[1])).toBeGreaterThan(20_000);
  });

  it.each([
    ['a failed start', `async () => { throw new Error('token=hunter2'); }`, 'service.start_failed'],
    [
      'an unhandled rejection',
      `async () => { void Promise.reject(new Error('token=hunter2')); return { stop: async () => {} }; }`,
      'service.crashed',
    ],
    [
      'an uncaught error',
      `async () => { setImmediate(() => { throw new Error('token=hunter2'); }); return { stop: async () => {} }; }`,
      'service.crashed',
    ],
  ])('logs %s, redacted, and exits 1', async (_name, start, event) => {
    const { code, output, errors } = await runProcess(start, ['serve', '--port', '0']).exited;
    expect(code).toBe(1);
    expect(output).toContain(event);
    expect(output + errors).not.toContain('hunter2');
  });

  it.each([
    [[]],
    [['dance']],
    [['serve', '--port', '99999']],
    [['serve', '--port', 'x']],
    [['serve', '--log-tool-calls', 'maybe']],
    [['serve', '--unknown', '1']],
    [['serve', 'stray']],
    [['health', '--host', 'h']],
  ])('explains the usage of %j and exits 2', async (argv) => {
    const { code, errors, output } = await runProcess(STOPS_WELL, argv).exited;
    expect([code, output]).toEqual([2, '']);
    expect(errors).toContain('usage: probe serve');
  });

  it('asks its own readiness for container health checks', async () => {
    const start = `async ({ host, port }) => {
      const log = createLogger({ service: 'probe' });
      let ready = true;
      const app = createHttpApp({ log, metrics: createMetrics('probe'), readiness: async () => ({ probe: { ok: ready } }) });
      app.get('/break', (_request, response) => { ready = false; response.json({}); });
      const server = await listen(app, { host, port });
      log.info('probe.at', { at: server.port });
      return { stop: () => server.close() };
    }`;
    const service = runProcess(start, ['serve', '--port', '0']);
    await service.says('service.started');
    const port = /"at":(\d+)/.exec(service.output())?.[1] ?? '';
    const health = async () => {
      const { code, output, errors } = await runProcess(STOPS_WELL, ['health', '--port', port]).exited;
      return [code, output.split(/[:\n]/)[0], errors];
    };
    // On a machine too busy to answer within the 3 s of a health check it is asked again, as a container engine would.
    let first = await health();
    for (let tries = 1; tries < 5 && first[0] !== 0; tries += 1) first = await health();
    expect(first).toEqual([0, 'ready', '']);
    await fetch(`http://127.0.0.1:${port}/break`);
    expect(await health()).toEqual([1, expect.stringMatching(/^not ready|^no answer/), '']);
    service.child.kill('SIGTERM');
    expect((await service.exited).code).toBe(0);
    expect(await health()).toEqual([1, `no answer on port ${port}`, '']);
  });
});

describe('parseCommand', () => {
  it('listens on this machine alone unless told otherwise', () => {
    expect(parseCommand('probe', ['serve'])).toEqual({
      kind: 'serve',
      flags: { host: '127.0.0.1', port: 8080, logToolCalls: false },
    });
    expect(parseCommand('probe', ['serve', '--host=0.0.0.0', '--port=9', '--log-tool-calls=true'])).toEqual({
      kind: 'serve',
      flags: { host: '0.0.0.0', port: 9, logToolCalls: true },
    });
    expect(parseCommand('probe', ['health'])).toEqual({ kind: 'health', port: 8080 });
  });
});
