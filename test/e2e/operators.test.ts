import { spawn } from 'node:child_process';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { createRabbitBus } from '@steward/bus';
import type { BusMessage } from '@steward/contracts';
import { createLogger } from '@steward/service-kit';
import { waitUntil } from '@steward/testkit';
import { isMarkedRepeat } from './count-fates.ts';
import { newQuestion, startStack, type Stack } from './harness.ts';
import { root } from './service-replicas.ts';
import { roomOf } from './stack-config.ts';

jest.setTimeout(180_000);

/** The second room of the configuration. */
const opsRoom = roomOf('stream');

describe('what the machine cannot know', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ operations: true });
  });
  afterAll(() => stack.stop());

  /** `steward …` as an operator runs it. */
  const steward = (...args: string[]) =>
    new Promise<{ code: number | null; out: string }>((resolve, reject) => {
      const child = spawn(process.execPath, [path.join(root, 'bin/steward'), ...args], {
        env: {
          PATH: process.env.PATH,
          STEWARD_DATABASE_URL: stack.operatorUrl,
          STEWARD_CONFIG: stack.config.configPath,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let out = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk: Buffer) => (out += chunk.toString()));
      child.once('error', reject);
      child.once('close', (code) => resolve({ code, out }));
    });

  /** Asks something whose answer is taken twice by the platform, which both times never says so. */
  async function askUnknown(): Promise<{ text: string; id: string }> {
    const text = newQuestion();
    stack.simulator.control.setFaults({ loseResponses: [{ path: '/robot/sendBySession', mode: 'reset', times: 2 }] });
    await stack.say({ robot: 'http', room: roomOf('http'), text });
    const read = async () =>
      (
        await stack.sql<{ id: string }>(
          `select id from outbound_sender.outbound_message where content ->> 'text' like $1 and status = 'unknown'`,
          [`%${text}%`],
        )
      )[0];
    const found = await waitUntil(async () => (await read()) ?? null, { timeoutMs: 30_000, what: 'an unknown ending' });
    return { text, id: found.id };
  }
  const settledOf = (id: string) =>
    stack.sql<{ outcome: string }>(
      `select outcome from audit.entry where kind = 'outbound.settled' and subject_id = $1 order by transaction_id`,
      [id],
    );

  it('is told in the operations room, and settled there once a person has looked', async () => {
    const { text, id } = await askUnknown();
    const [notice] = await stack.waitForAnswers({ contains: id, conversationId: opsRoom, timeoutMs: 60_000 });
    expect(notice?.text).toContain('unknown');
    expect((await steward('outbound', 'list')).out).toContain(id);
    const happened = ['outbound', 'resolve', id, '--happened', '--reason', 'it is there'];
    expect(await steward(...happened)).toEqual({ code: 0, out: 'it is accepted now\n' });
    expect(await steward(...happened)).toEqual({ code: 0, out: expect.stringContaining('decided already: happened') });
    await waitUntil(async () => (await settledOf(id)).length === 2, { timeoutMs: 30_000, what: 'the revised ending' });
    expect(await settledOf(id)).toEqual([{ outcome: 'unknown' }, { outcome: 'accepted' }]);
    expect(await stack.waitForAnswers({ contains: text })).toHaveLength(2);
  });

  it('is sent again, unmarked, when a person says that it did not arrive', async () => {
    const { text, id } = await askUnknown();
    const said = await steward('outbound', 'resolve', id, '--did-not', '--reason', 'not there');
    expect(said).toEqual({ code: 0, out: 'it is sent again\n' });
    const answers = await stack.waitForAnswers({ contains: text, count: 3 });
    expect(answers.map((answer) => isMarkedRepeat(answer.text))).toEqual([false, true, false]);
    await waitUntil(async () => (await settledOf(id)).length === 2, { timeoutMs: 30_000, what: 'the revised ending' });
  });

  it('is kept when it dies on the bus, and can be discarded', async () => {
    const log = createLogger({ service: 'test', write: () => undefined });
    const bus = await createRabbitBus({ url: stack.vhost.url, service: 'agent-core', log });
    const broken = { type: 'inbound.settled.v1', id: 'none' } as unknown as BusMessage;
    expect(await bus.publish([broken])).toEqual(['confirmed']);
    await bus.close();
    const read = async () => (await stack.sql<{ id: string }>('select id from adapter.dead_letter'))[0];
    const { id } = await waitUntil(async () => (await read()) ?? null, { timeoutMs: 30_000, what: 'a dead letter' });
    expect((await steward('dead', 'show', id)).out).toContain('BUS_BODY_INVALID');
    expect(await steward('dead', 'redrive', id, '--reason', 'again')).toMatchObject({ code: 1 });
    expect(await steward('dead', 'discard', id, '--reason', 'a test')).toEqual({ code: 0, out: 'it rests\n' });
    expect((await steward('dead', 'list')).out).toBe('nothing dead waits for a decision\n');
    await stack.checkSecretsKept();
  });
});
