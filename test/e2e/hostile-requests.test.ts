import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { startStack, type Stack } from './harness.ts';
import { readMetric } from './read-metric.ts';
import { toBytes, type HostileRequest, type Known } from './hostile/request.ts';
import { buildHostileRequests } from './hostile-requests.ts';
import { codeOf, roomOf } from './stack-config.ts';

jest.setTimeout(180_000);

const answerLimitMs = 15_000;
/** What the process may have grown by after all of it: the young generation of V8 alone is 32 MiB. */
const maxGrowthMiB = 64;

describe('hostile requests to the doors of a real adapter', () => {
  let stack: Stack;
  let port: number;
  let requests: HostileRequest[];
  beforeAll(async () => {
    stack = await startStack();
    port = Number(new URL(stack.adapters[0]?.url ?? '').port);
    requests = buildHostileRequests(known());
  });
  afterAll(() => stack.stop());

  const known = (): Known => ({
    appSecret: stack.secrets['http.app-secret'] ?? '',
    cardSecret: stack.secrets['cards.secret'] ?? '',
    events: {
      token: stack.secrets['events.token'] ?? '',
      aesKey: stack.secrets['events.aes-key'] ?? '',
      ownerKey: `key-${codeOf('http')}`,
    },
    robotCode: codeOf('http'),
    conversationId: roomOf('http'),
    nowMs: Date.now(),
  });
  const countEvents = async () => {
    const [row] = await stack.sql<{ count: number }>(`select count(*)::int as count from adapter.inbound_event`);
    return row?.count ?? 0;
  };
  const sayPing = async () => {
    const since = await stack.lastLine();
    await stack.say({ robot: 'http', room: roomOf('http'), text: '/ping', via: 'http' });
    await stack.waitForAnswers({ since, contains: 'pong' });
  };

  it('are more than 300, in 16 families, all different', () => {
    expect(requests.length).toBeGreaterThanOrEqual(300);
    expect(new Set(requests.map(({ family }) => family)).size).toBeGreaterThanOrEqual(16);
    expect(new Set(requests.map(({ bytes }) => bytes.toString('latin1'))).size).toBe(requests.length);
  });

  it('are each answered with the right code, counted, and leave nothing behind; people are answered meanwhile', async () => {
    // Once over, so that what is loaded at first use is in memory before it is measured.
    await sendAll(port, requests.slice(0, 100));
    const [events, rejected, rss] = [
      await countEvents(),
      await readMetric(stack.adapters[0]?.url ?? '', 'steward_door_rejected_total'),
      await readMetric(stack.adapters[0]?.url ?? '', 'process_resident_memory_bytes'),
    ];
    const [answers] = await Promise.all([sendAll(port, requests), sayPing()]);
    const wrong = requests.flatMap(({ family, name, expected }, at) => {
      const answer = answers[at] ?? 'closed';
      return matches(answer, expected) ? [] : [{ family, name, expected, answer }];
    });
    expect(wrong).toEqual([]);

    const taken = requests.filter(({ expected }) => expected !== 'closed' && expected.status === 200);
    const recorded = taken.filter(({ bytes }) => bytes.subarray(0, 4).toString() === 'POST');
    // The ping is one of them.
    expect((await countEvents()) - events).toBe(recorded.length + 1);
    const refused = requests.filter(
      ({ expected }) => expected !== 'closed' && expected.code !== undefined && expected.code !== 'NOT_FOUND',
    );
    // What the parser refuses in the middle of a body is counted by the door too, when it had begun to read.
    expect(
      (await readMetric(stack.adapters[0]?.url ?? '', 'steward_door_rejected_total')) - rejected,
    ).toBeGreaterThanOrEqual(refused.length);
    expect(
      ((await readMetric(stack.adapters[0]?.url ?? '', 'process_resident_memory_bytes')) - rss) / 1024 / 1024,
    ).toBeLessThan(maxGrowthMiB);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('that are slow are cut off after seconds, and hold up nobody', async () => {
    const { appSecret: _, ...rest } = known();
    const whole = toBytes({ headers: [['x-known', rest.robotCode]], body: 'x'.repeat(100) });
    const slow = [
      drip(port, whole.subarray(0, 20), 'nothing more'),
      drip(port, whole.subarray(0, whole.indexOf('\r\n\r\n')), 'nothing more'),
      drip(port, whole.subarray(0, 20), whole.subarray(20)),
      drip(port, Buffer.alloc(0), 'nothing more', 1_000),
      ...Array.from({ length: 20 }, () => drip(port, whole.subarray(0, 60), whole.subarray(60))),
    ];
    await sayPing();
    const ended = await Promise.all(slow);
    for (const [at, { afterMs, text }] of ended.entries()) {
      // The one that never said a word is hung up on by us, after a second.
      expect([at, afterMs < answerLimitMs]).toEqual([at, true]);
      expect(text === '' || /^HTTP\/1\.1 4\d\d /.test(text)).toBe(true);
    }
  });

  it('broke nothing: no rejection went unhandled, no process ended, nobody’s message was lost', async () => {
    const output = stack.adapters[0]?.output() ?? '';
    expect(output).not.toMatch(/unhandled|uncaught|http\.request_failed/i);
    expect(output.split('service.started')).toHaveLength(2);
    await sayPing();
    await stack.waitUntilQuiet();
    await stack.checkSecretsKept();
  });
});

type Answer = 'closed' | { status: number; code?: string };

function matches(answer: Answer, expected: HostileRequest['expected']): boolean {
  if (answer === 'closed' || expected === 'closed') return answer === expected;
  return answer.status === expected.status && (expected.code === undefined || answer.code === expected.code);
}

/** A few at a time, each on a connection of its own. */
async function sendAll(port: number, requests: readonly HostileRequest[]): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let at = 0; at < requests.length; at += 8)
    answers.push(...(await Promise.all(requests.slice(at, at + 8).map(({ bytes }) => send(port, bytes)))));
  return answers;
}

/** Sends the bytes and reads until the other side closes: the first answer counts. */
async function send(port: number, bytes: Buffer): Promise<Answer> {
  const { text } = await exchange(port, (write) => write(bytes));
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1];
  if (status === undefined) return 'closed';
  const code = /\r\n\r\n[\s\S]*?"code":"([A-Z_]+)"/.exec(text)?.[1];
  return { status: Number(status), ...(code !== undefined && { code }) };
}

/** Sends a beginning, and then the rest a byte in half a second, or nothing more. */
async function drip(port: number, beginning: Buffer, rest: Buffer | 'nothing more', limitMs = answerLimitMs) {
  let timer: NodeJS.Timeout | undefined;
  const write = (send: (bytes: Buffer) => void) => {
    if (beginning.length > 0) send(beginning);
    let at = 0;
    if (rest === 'nothing more') return;
    timer = setInterval(() => send(rest.subarray(at, (at += 1))), 500);
  };
  const ended = await exchange(port, write, limitMs);
  clearInterval(timer);
  return ended;
}

function exchange(
  port: number,
  talk: (write: (bytes: Buffer) => void) => void,
  limitMs = answerLimitMs,
): Promise<{ text: string; afterMs: number }> {
  return new Promise((resolve) => {
    const startedAt = performance.now();
    let text = '';
    const socket = connect({ host: '127.0.0.1', port }, () =>
      talk((bytes) => {
        if (socket.writable) socket.write(bytes);
      }),
    );
    const limit = setTimeout(() => socket.destroy(), limitMs);
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => (text += chunk));
    // A refused body that is still being sent ends in a reset: what was answered before counts.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(limit);
      resolve({ text, afterMs: performance.now() - startedAt });
    });
  });
}
