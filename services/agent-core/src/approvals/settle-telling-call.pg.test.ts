import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { newId } from '@steward/service-kit';
import type { OutboundSettled } from '@steward/contracts';
import { openAttacked, type AttackDatabase } from '../attacks.test-support.ts';
import { people } from '../gate.test-support.ts';
import { createOutboundReceipts } from '../settle-outbound.ts';
import { openTestDatabase } from '../testing.ts';

let database: AttackDatabase;
let gate: Awaited<ReturnType<typeof openAttacked>>;
const { li, han } = people;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  gate = await openAttacked(database);
});
afterAll(() => database.close());

type Ending = OutboundSettled['body']['ending'];
const settled = (
  outboundMessageId: string,
  ending: Ending,
  over: Partial<OutboundSettled['body']> = {},
): OutboundSettled => ({
  type: 'outbound.settled.v1',
  id: newId(),
  correlationId: newId(),
  causationId: newId(),
  occurredAt: new Date().toISOString(),
  body: { ...(body as OutboundSettled['body']), outboundMessageId, ending, ...over },
});
const body: Partial<OutboundSettled['body']> = { reason: null, attempts: 1 };

/** An approved call that takes effect in outbound-sender: what it asked for there. */
async function tell(): Promise<string> {
  const code = await gate.ask('/run say service=hello');
  const said = await gate.talk.say(han, `/approve ${code}`);
  expect(said[1]).toMatch(/^waiting: say: waiting for/);
  const [attempt] = await database.rows<{ id: string }>(
    'select outbound_message_id as id from agent_core.tool_attempt',
  );
  if (attempt === undefined) throw new Error('nothing was told');
  return attempt.id;
}
const calls = () => database.rows('select status, code from agent_core.tool_call');
const answers = async () =>
  (await gate.talk.workAll()).map((outcome) => (outcome.status === 'waiting' ? outcome.line : outcome.answer?.text));

describe('a call that takes effect in another service', () => {
  it('is open until that service says how it ended', async () => {
    const id = await tell();
    const [request] = (await gate.told()).filter(({ content }) => content['text'] === '"hello"');
    expect(request).toMatchObject({ outboundMessageId: id, lane: 'bulk', target: { conversationId: 'cid-2' } });
    expect(await calls()).toEqual([{ status: 'running', code: null }]);
    expect(await answers()).toEqual([]);
    await createOutboundReceipts(gate.context).settle(settled(id, 'accepted'));
    expect((await answers())[0]).toContain('say: done, approved by Han Meimei');
    expect(await database.rows('select outcome, closed_at is not null as closed from agent_core.tool_attempt')).toEqual(
      [{ outcome: 'done', closed: true }],
    );
  });

  it.each<[Ending, string, string | null, RegExp]>([
    ['merged', 'done', null, /done/],
    ['failed', 'failed', 'ROOM_GONE', /failed, nothing was changed \(ROOM_GONE\)/],
    ['discarded', 'failed', 'ROOM_GONE', /failed/],
    ['unknown', 'unknown', 'ROOM_GONE', /nobody knows/],
  ])('that is %s there is %s here', async (ending, status, code, text) => {
    const id = await tell();
    await createOutboundReceipts(gate.context).settle(settled(id, ending, { reason: 'ROOM_GONE' }));
    expect(await calls()).toEqual([{ status, code }]);
    expect((await answers())[0]).toMatch(text);
  });

  it('has one outcome, however often and differently it is told', async () => {
    const id = await tell();
    await createOutboundReceipts(gate.context).settle(settled(id, 'unknown'));
    for (const ending of ['accepted', 'failed', 'unknown'] as const)
      await createOutboundReceipts(gate.context).settle(settled(id, ending));
    expect(await calls()).toEqual([{ status: 'unknown', code: 'unknown' }]);
    expect(await gate.audited(/^call\.ended/)).toEqual(['call.ended unknown']);
    const said = (await gate.told()).map(({ content }) => String(content['text']));
    expect(said.filter((text) => text.includes('nobody knows whether it happened'))).toHaveLength(1);
  });

  it('takes a later ending that says it replaces the first, and no other', async () => {
    const id = await tell();
    await createOutboundReceipts(gate.context).settle(settled(id, 'unknown'));
    await createOutboundReceipts(gate.context).settle(settled(id, 'failed'));
    const revised = settled(id, 'accepted', { revised: true });
    for (let time = 0; time < 2; time += 1) await createOutboundReceipts(gate.context).settle(revised);
    expect(await gate.audited(/^outbound\.settled/)).toEqual(['outbound.settled unknown', 'outbound.settled accepted']);
  });

  it('is told once, whatever crashes: a resumed turn waits for the same message', async () => {
    const id = await tell();
    await database.rows(
      `update agent_core.turn set status = 'queued', next_attempt_at = now() where status = 'waiting'`,
    );
    await answers();
    expect((await gate.told()).filter(({ content }) => content['text'] === '"hello"')).toHaveLength(1);
    await createOutboundReceipts(gate.context).settle(settled(id, 'accepted'));
    expect((await answers())[0]).toContain('done');
    expect(await database.rows('select from agent_core.tool_attempt')).toHaveLength(1);
  });

  it('of another message changes nothing here', async () => {
    await tell();
    await createOutboundReceipts(gate.context).settle(settled(newId(), 'accepted'));
    expect(await calls()).toEqual([{ status: 'running', code: null }]);
  });

  it('spends the rate of its room: the next one waits with its approval in hand', async () => {
    const first = await tell();
    await createOutboundReceipts(gate.context).settle(settled(first, 'accepted'));
    await answers();
    const code = await gate.ask('/run say service=again', li);
    const said = await gate.talk.say(han, `/approve ${code}`);
    expect(said[1]).toMatch(/^waiting/);
    expect((await gate.told()).filter(({ content }) => content['text'] === '"again"')).toHaveLength(0);
    expect(await gate.statuses()).toEqual(['used', 'approved']);
  });
});
