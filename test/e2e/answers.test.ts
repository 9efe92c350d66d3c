import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { singleChatId } from '@steward/dingtalk-simulator';
import { newQuestion, startStack, type Stack } from './harness.ts';
import { codeOf, people, roomOf } from './stack-config.ts';

jest.setTimeout(120_000);

type LedgerRow = { correlation_id: string; door: string; duplicate_count: number; settled_at: Date | null };
const trace = ['inbound.recorded', 'turn.ended', 'outbound.recorded', 'outbound.ended', 'outbound.settled'];

describe('a message is answered', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack();
  });
  afterAll(() => stack.stop());

  const readLedger = (msgId: string) =>
    stack.sql<LedgerRow>('select * from adapter.inbound_event where source_id = $1', [msgId]);
  const readTrace = async (correlationId: string) => {
    const rows = await stack.sql<{ kind: string }>('select kind from audit.entry where correlation_id = $1', [
      correlationId,
    ]);
    return rows.map(({ kind }) => kind).sort();
  };
  const singleWith = (staffId: string) => singleChatId(stack.simulator.control.world(), codeOf('http'), staffId);

  it.each([
    ['in a group', () => ({ room: roomOf('http') }), () => roomOf('http')],
    ['in a single chat', () => ({}), () => singleWith(people.li)],
  ])(
    '%s: signed HTTP callback, answer through the session webhook, a whole audit trace',
    async (_name, place, conversation) => {
      const since = await stack.lastLine();
      const { msgId, delivered } = await stack.say({ robot: 'http', staffId: people.li, text: '/ping', ...place() });
      expect(delivered).toEqual([{ via: 'http', outcome: 'acked', status: 200 }]);
      const [answer] = await stack.waitForAnswers({ since });
      expect(answer).toMatchObject({ text: 'pong, I am here.', via: 'sessionWebhook', conversationId: conversation() });
      await stack.waitUntilQuiet();
      const ledger = await readLedger(msgId);
      expect(ledger).toMatchObject([{ door: 'http', duplicate_count: 0, settled_at: expect.any(Date) }]);
      expect(await readTrace(ledger[0]?.correlation_id ?? '')).toEqual([...trace].sort());
      const outcomes = await stack.sql(
        'select kind, outcome, actor_staff_id from audit.entry where correlation_id = $1',
        [ledger[0]?.correlation_id],
      );
      expect(outcomes).toEqual(
        expect.arrayContaining([
          { kind: 'inbound.recorded', outcome: 'accepted', actor_staff_id: people.li },
          { kind: 'turn.ended', outcome: 'command.ping', actor_staff_id: people.li },
          { kind: 'outbound.ended', outcome: 'accepted', actor_staff_id: null },
        ]),
      );
    },
  );

  it.each([
    ['groupSend', '/v1.0/robot/groupMessages/send', { room: roomOf('stream') }],
    ['batchSend', '/v1.0/robot/oToMessages/batchSend', {}],
  ])('Stream socket, answer by %s once the session has expired', async (via, path, place) => {
    // Nearer to its end than any send may take: the address is not even tried.
    stack.simulator.control.setFaults({ sessionTtlMs: 20_000 });
    const text = newQuestion();
    const { delivered } = await stack.say({ robot: 'stream', staffId: people.han, text, ...place });
    expect(delivered).toEqual([{ via: 'stream', outcome: 'acked' }]);
    const [answer] = await stack.waitForAnswers({ contains: text });
    expect(answer).toMatchObject({ via, from: { kind: 'robot', id: codeOf('stream') } });
    expect(await stack.simulator.control.calls({ path })).toContainEqual(
      expect.objectContaining({ outcome: 'ok', text: answer?.text }),
    );
  });

  it.each([
    ['groupSend', { room: roomOf('stream') }],
    ['batchSend', {}],
  ])('Stream socket, answer by %s when the platform says that the session is gone (300001)', async (via, place) => {
    const reply = 'oapi.300001.session' as const;
    stack.simulator.control.setFaults({
      sessionTtlMs: 5_400_000,
      failNext: [{ path: '/robot/sendBySession', reply, times: 1 }],
    });
    const text = newQuestion();
    await stack.say({ robot: 'stream', staffId: people.han, text, ...place });
    expect(await stack.waitForAnswers({ contains: text })).toMatchObject([{ via }]);
    expect(stack.simulator.control.faults().failNext).toEqual([]);
    // The person sees the answer before its attempt is closed.
    await stack.waitUntilQuiet();
    const [attempts] = await stack.sql<{ outcomes: string[] }>(
      `select array_agg(a.outcome order by a.number) as outcomes from outbound_sender.delivery_attempt a
       join outbound_sender.outbound_message m on m.id = a.outbound_message_id where m.content->>'text' like $1`,
      [`%${text}%`],
    );
    expect(attempts).toEqual({ outcomes: ['session_gone', 'accepted'] });
  });

  it('loses, doubles and reorders nothing of all that, and leaks no secret', async () => {
    expect(await stack.checkNothingLost()).toEqual({ acknowledged: 6, lost: 0, duplicated: 0, reordered: 0 });
  });
});
