import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { startProcess, type TestProcess } from '@steward/testkit';
import { root } from './service-replicas.ts';

jest.setTimeout(120_000);

type Card = { simulatorUrl: string; rooms: { id: string; robot: string }[] };

describe('the embedded demo', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'steward-demo-'));
  let demo: TestProcess;
  const start = (...wishes: string[]) =>
    startProcess({
      name: 'demo',
      command: process.execPath,
      args: [path.join(root, 'test/e2e/demo-process.ts'), folder, ...wishes],
      cwd: root,
    });
  const startAndWait = async (...wishes: string[]) => {
    demo = start(...wishes);
    await demo.waitForOutput('demo is up', { timeoutMs: 90_000 });
  };
  beforeAll(() => startAndWait('play'));
  afterAll(async () => {
    await demo.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const call = async (method: string, resource: string, body?: unknown) => {
    const { simulatorUrl } = JSON.parse(readFileSync(path.join(folder, 'demo.json'), 'utf8')) as Card;
    const response = await fetch(`${simulatorUrl}/control/${resource}`, {
      method,
      headers: { 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(40_000),
    });
    expect(response.status).toBe(200);
    return (await response.json()) as { delivered: unknown; messages: { n: number; text: string }[] };
  };
  const room = () =>
    (JSON.parse(readFileSync(path.join(folder, 'demo.json'), 'utf8')) as Card).rooms.find(
      ({ robot }) => robot === 'ops',
    )?.id;
  const say = (text: string, msgId: string) => call('POST', 'say', { robot: 'ops', room: room(), text, msgId });
  const hear = async (count: number) =>
    (await call('GET', `messages?from=robot&wait=20000&count=${count}`)).messages.map(({ text }) => text);

  it('answers every line of its own play', () => {
    expect(demo.output()).toMatch(/^unanswered: 0$/m);
  });

  it('keeps a second process out of its folder, and goes on', async () => {
    const second = start();
    await second.waitForOutput('refused: DEMO_RUNNING', { timeoutMs: 60_000 });
    expect(await second.exited).toEqual({ code: 1, signal: null });
    const { length: before } = (await call('GET', 'messages?from=robot')).messages;
    await say('/ping', 'msg-once');
    expect((await hear(before + 1)).at(-1)).toBe('pong，我在。');
  });

  it('remembers across a restart what was answered: the same message again has no second answer', async () => {
    await demo.stop();
    await startAndWait();
    expect(await say('/ping', 'msg-once')).toMatchObject({ delivered: [{ outcome: 'acked' }] });
    await demo.waitForOutput(/"event":"inbound.recorded".*"duplicate":true/);
    await say('/whoami', 'msg-new');
    expect(await hear(1)).toEqual([expect.stringMatching(/^你是 /)]);
  });

  it('comes back after kill -9 too, taking over the lock of the dead', async () => {
    // A send that was not closed yet would come once more, marked as a possible repeat, after its lease.
    await demo.waitForOutput(/"event":"delivery.attempted".*"next":"end"/);
    demo.kill('SIGKILL');
    await demo.exited;
    await startAndWait();
    await say('/ping', 'msg-after-the-crash');
    expect(await hear(1)).toEqual(['pong，我在。']);
  });
});
