import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createConversation } from './conversation.ts';

// The checker is checked: a simulated DingTalk that plants one violation of each kind must not get past it.
type Planted = { outcomes?: Record<number, string>; answers?: Record<number, number> };
let server: Server;

afterEach(() => new Promise((resolve) => server.close(resolve)));

/** Answers the control verbs; by default every saying is accepted and answered once. */
async function startConversation(planted: Planted) {
  const said: { key: string; text: string }[] = [];
  server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const verb = (request.url ?? '').split('?')[0]?.replace('/control/', '');
      if (verb === 'say') {
        const { msgId, text } = JSON.parse(Buffer.concat(parts).toString()) as { msgId: string; text: string };
        said.push({ key: msgId, text });
      }
      const since = Number(new URL(request.url ?? '', 'http://x').searchParams.get('since'));
      const lines = said.flatMap(({ text }, at) =>
        Array.from({ length: planted.answers?.[at] ?? 1 }, () => `我不认识命令 ${text}。`),
      );
      const sent = said.map(({ key }, at) => ({ key, outcome: planted.outcomes?.[at] ?? 'acked' }));
      const messages = lines.map((text, at) => ({ n: at + 1, text })).filter(({ n }) => n > since);
      response.end(JSON.stringify({ sent, messages }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const simulatorUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const conversation = createConversation(
    { simulatorUrl, rooms: [{ id: 'r', robot: 'ops' }], people: [{ staffId: 'p' }] },
    { settleLimitMs: 1_500 },
  );
  await conversation.meetSimulator();
  await conversation.say(5);
  return conversation;
}

describe('the checker of the conversation', () => {
  it('finds nothing where every accepted saying is answered once', async () => {
    const conversation = await startConversation({});
    expect(await conversation.settle()).toEqual({ said: 5, accepted: 5, answered: 5, lost: [], doubled: [] });
  });

  it('finds an accepted saying that is never answered', async () => {
    const conversation = await startConversation({ answers: { 2: 0 } });
    expect((await conversation.settle()).lost).toEqual([expect.stringMatching(/x2$/)]);
  });

  it('finds an answer that came twice', async () => {
    const conversation = await startConversation({ answers: { 3: 2 } });
    expect((await conversation.settle()).doubled).toEqual([expect.stringMatching(/x3$/)]);
  });

  it('expects no answer to what was never accepted', async () => {
    const conversation = await startConversation({ outcomes: { 1: 'failed' }, answers: { 1: 0 } });
    expect(await conversation.settle()).toMatchObject({ accepted: 4, answered: 4, lost: [] });
  });

  it('says so when a push never ends', async () => {
    const conversation = await startConversation({ outcomes: { 0: 'pending' } });
    expect(await conversation.settle()).toMatchObject({ accepted: 4 });
  });

  it('adds up what it remembers of a simulator that went away', async () => {
    const conversation = await startConversation({});
    await conversation.remember();
    await conversation.meetSimulator();
    expect((await conversation.settle()).doubled).toHaveLength(5);
  });
});
