import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { newId } from '@steward/service-kit';
import { waitUntil } from '@steward/testkit';
import { openAttacked, type AttackDatabase } from '../attacks.test-support.ts';
import { people } from '../gate.test-support.ts';
import { createOutboundReceipts } from '../settle-outbound.ts';
import { openTestDatabase } from '../testing.ts';
import { createOperatorWorker } from './work-operator-requests.ts';

let database: AttackDatabase;
let gate: Awaited<ReturnType<typeof openAttacked>>;
const { han } = people;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  await database.rows('truncate outbound_sender.outbound_message cascade');
  gate = await openAttacked(database);
});
afterAll(() => database.close());

/** An approved restart of which nobody knows whether it happened. */
async function callUnknown(): Promise<string> {
  gate.system.script.push(() => Promise.resolve({ kind: 'unknown', code: 'ECONNRESET' }));
  const code = await gate.ask();
  await gate.talk.say(han, `/approve ${code}`);
  await gate.talk.workAll();
  const [call] = await database.rows<{ id: string; status: string }>('select id, status from agent_core.tool_call');
  expect(call?.status).toBe('unknown');
  return call?.id ?? '';
}

type Answer = { ok: boolean; text: string };
/** Inserts requests as the operator's role does, lets two replicas answer them, and returns the answers. */
async function ask(...bodies: Record<string, unknown>[]): Promise<Answer[]> {
  const ids = bodies.map(() => newId());
  for (const [at, body] of bodies.entries())
    await database.rows(`insert into agent_core.operator_request (id, verb, body, asked_by)
      values ('${ids[at] ?? ''}', 'calls.resolve', '${JSON.stringify(body)}', 'li')`);
  const workers = [gate.context, { ...gate.context, db: database.connect() }].map(createOperatorWorker);
  for (const worker of workers) worker.start();
  const read = () =>
    database.rows<{ id: string; answer: Answer | null }>('select id, answer from agent_core.operator_request');
  await waitUntil(async () => (await read()).every(({ answer }) => answer !== null), {
    timeoutMs: 10_000,
    what: 'the operator to be answered',
  });
  for (const worker of workers) await worker.stop();
  const rows = await read();
  return ids.map((id) => rows.find((row) => row.id === id)?.answer ?? { ok: false, text: 'no row' });
}
const resolve = (toolCallId: string, decision: string, over: Record<string, unknown> = {}) =>
  ask({ toolCallId, decision, reason: 'looked at the pods', ...over });
const resolutions = () =>
  database.rows('select decision, decided_by, door, reason from agent_core.tool_call_resolution');
const waiting = () => database.rows('select kind, subject_id, what, code from ops.unknown');
const said = async (pattern: RegExp) =>
  (await gate.told()).filter(({ content }) => pattern.test(String(content['text'])));

describe('a call of which nobody knows', () => {
  it('that happened is settled beside its record, audited, and told in its room by one line', async () => {
    const id = await callUnknown();
    expect(await waiting()).toEqual([{ kind: 'tool_call', subject_id: id, what: 'restart', code: 'ECONNRESET' }]);
    expect(await resolve(id, 'happened')).toEqual([{ ok: true, text: 'restart: happened; nothing is called again' }]);
    expect(await resolutions()).toEqual([
      { decision: 'happened', decided_by: 'li', door: 'cli', reason: 'looked at the pods' },
    ]);
    expect(await waiting()).toEqual([]);
    expect(await database.rows('select status, code from agent_core.tool_call')).toEqual([
      { status: 'unknown', code: 'ECONNRESET' },
    ]);
    expect(await gate.audited(/^call\.resolved|^operator/)).toEqual(['call.resolved happened', 'operator.asked done']);
    const lines = await said(/it did happen, says li: looked at the pods/);
    expect(lines).toMatchObject([{ target: { kind: 'reply', conversation: { conversationId: 'cid-1' } } }]);
  });

  it('that did not happen is never made again by that', async () => {
    const id = await callUnknown();
    const [answer] = await resolve(id, 'did_not');
    expect(answer?.ok).toBe(true);
    expect(await gate.talk.workAll()).toEqual([]);
    expect(gate.system.effects).toHaveLength(1);
    expect(await said(/did not happen, and is not done again by itself/)).toHaveLength(1);
  });

  it('is settled once, whoever asks again', async () => {
    const id = await callUnknown();
    await resolve(id, 'happened');
    const before = 'decided already: happened, by li';
    expect(await resolve(id, 'happened')).toEqual([{ ok: true, text: before }]);
    expect(await resolve(id, 'did_not')).toEqual([{ ok: false, text: before }]);
    expect(await resolutions()).toHaveLength(1);
    expect(await said(/it did/)).toHaveLength(1);
  });

  it('is settled once, however many ask at the same moment', async () => {
    const id = await callUnknown();
    const body = { toolCallId: id, decision: 'did_not', reason: 'x' };
    const answers = await ask(body, body, body, body);
    expect(answers.filter(({ text }) => text.includes('nothing is called again'))).toHaveLength(1);
    expect(await said(/did not happen/)).toHaveLength(1);
  });

  it('is the only one that can be settled', async () => {
    const code = await gate.ask();
    await gate.talk.say(han, `/approve ${code}`);
    await gate.talk.workAll();
    const [done] = await database.rows<{ id: string }>('select id from agent_core.tool_call');
    expect(await resolve(done?.id ?? '', 'did_not')).toEqual([
      { ok: false, text: 'it is done, and nothing about that waits for a person' },
    ]);
    expect(await resolve(newId(), 'happened')).toEqual([{ ok: false, text: 'there is no such call' }]);
    for (const over of [{ reason: '' }, { decision: 'discard' }, { toolCallId: 'x' }])
      expect(await resolve(newId(), 'happened', over)).toEqual([{ ok: false, text: expect.stringContaining('needs') }]);
    await expect(
      gate.context.db
        .insertInto('tool_call_resolution')
        .values({
          tool_call_id: done?.id ?? '',
          decision: 'did_not',
          reason: 'x',
          decided_by: 'li',
          door: 'cli',
          source_id: newId(),
        })
        .execute(),
    ).rejects.toThrow('resolution_of_known_call');
  });
});

describe('a call whose effect is an outbound message of which nobody knows', () => {
  /** The call and, as outbound-sender has it, its message. */
  async function tellUnknown() {
    const code = await gate.ask('/run say service=hello');
    await gate.talk.say(han, `/approve ${code}`);
    const [attempt] = await database.rows<{ call: string; message: string }>(
      'select tool_call_id as call, outbound_message_id as message from agent_core.tool_attempt',
    );
    if (attempt === undefined) throw new Error('nothing was told');
    await database.rows(
      `insert into outbound_sender.outbound_message
         (id, correlation_id, environment, lane, budget, target, content, parts, status, ended_at)
       values ('${attempt.message}', '${newId()}', 'test', 'bulk', 'robot dingtest', '{}', '{"kind": "markdown"}', '["x"]',
         'unknown', now())`,
    );
    await settle(attempt.message, { ending: 'unknown', reason: 'TIMEOUT' });
    await gate.talk.workAll();
    return attempt;
  }
  const settle = (
    outboundMessageId: string,
    over: { ending: 'accepted' | 'failed' | 'discarded' | 'unknown'; reason?: string; revised?: true },
  ) =>
    createOutboundReceipts(gate.context).settle({
      type: 'outbound.settled.v1',
      id: newId(),
      correlationId: newId(),
      causationId: newId(),
      occurredAt: new Date().toISOString(),
      body: { outboundMessageId, attempts: 2, reason: null, ...over },
    });

  it('waits for that message, and is settled with it', async () => {
    const { call, message } = await tellUnknown();
    expect(await waiting()).toMatchObject([{ kind: 'outbound_message', subject_id: message }]);
    expect(await resolve(call, 'happened')).toEqual([
      { ok: false, text: `its effect is an outbound message: settle that one, steward outbound resolve ${message}` },
    ]);
    await settle(message, { ending: 'accepted', revised: true });
    await settle(message, { ending: 'failed', revised: true });
    expect(await resolutions()).toEqual([
      { decision: 'happened', decided_by: 'outbound-sender', door: 'outbound', reason: 'accepted' },
    ]);
    expect(await said(/it did happen, says outbound-sender/)).toHaveLength(1);
    expect(await gate.audited(/^call\.(ended|resolved)/)).toEqual(['call.ended unknown', 'call.resolved happened']);
  });

  it('did not happen when the message was discarded or failed in the end', async () => {
    const { message } = await tellUnknown();
    await settle(message, { ending: 'unknown', revised: true });
    expect(await resolutions()).toEqual([]);
    await settle(message, { ending: 'failed', reason: 'ROOM_GONE', revised: true });
    expect(await resolutions()).toMatchObject([{ decision: 'did_not', reason: 'ROOM_GONE' }]);
  });

  it('can be settled by itself when the message’s last word was lost', async () => {
    const { call } = await tellUnknown();
    await database.rows(`update outbound_sender.outbound_message set status = 'accepted'`);
    expect(await waiting()).toMatchObject([{ kind: 'tool_call', subject_id: call }]);
    expect(await resolve(call, 'happened')).toMatchObject([{ ok: true }]);
  });
});
