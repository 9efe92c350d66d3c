import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { OutboundTarget } from '@steward/contracts';
import { closeAbandoned, closeAttempt, type AttemptResult } from './close-attempt.ts';
import type { OpenAttempt } from './open-attempt.ts';
import { buildReply, cardContent, cardUpdate, openTestDatabase, silentLog, openerOf } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(() => database.clear());
afterAll(() => database.close());

const now = () => new Date();
const open = () => openerOf({ db: database.db })();
const opened = async (): Promise<OpenAttempt> => {
  const attempt = await open();
  if (typeof attempt === 'string') throw new Error(`nothing was opened: ${attempt}`);
  return attempt;
};
const close = (attempt: OpenAttempt, over: Partial<AttemptResult> = {}) =>
  closeAttempt({ db: database.db, now, random: () => 0 }, attempt, {
    ...{ outcome: 'accepted', code: null, processQueryKey: null, retryAfterMs: null },
    ...over,
  });
const statusOf = async (id: string) =>
  (
    await database.rows<{ status: string; reason: string | null }>(
      `select status, reason from outbound_sender.outbound_message where id = '${id}'`,
    )
  )[0];
/** Says something and has it accepted, one handle for each part (null: a reply address gives none). */
const say = async (keys: (string | null)[], o: { target?: OutboundTarget; text?: string } = {}) => {
  const id = await database.record(o);
  for (const processQueryKey of keys) await close(await opened(), { processQueryKey });
  return id;
};
const group = { kind: 'group', robotCode: 'dingtest', conversationId: 'cid-1' } as const;
const person = { kind: 'person', robotCode: 'dingtest', staffId: 'staff-1' } as const;
const recall = (outboundMessageId: string, target: OutboundTarget = group) =>
  database.record({ target, content: { kind: 'recall', outboundMessageId } });

describe('a card', () => {
  it('leaves once, its updates after it and in their order', async () => {
    const card = await database.record({ content: cardContent });
    const update = await database.record({ content: cardUpdate, after: card });
    const attempt = await opened();
    expect(attempt).toMatchObject({ outboundMessageId: card, path: 'card', content: cardContent });
    expect(await open()).toBe('idle');
    await close(attempt, { processQueryKey: 'carrier' });
    expect(await opened()).toMatchObject({ outboundMessageId: update, path: 'card_update', content: cardUpdate });
  });

  it('is tried again, and its update waits, while nobody knows whether it arrived', async () => {
    const card = await database.record({ content: cardContent });
    await database.record({ content: cardUpdate, after: card });
    for (let n = 0; n < 4; n += 1) {
      const attempt = await opened();
      expect(attempt).toMatchObject({ outboundMessageId: card, unknownCount: n });
      expect(await close(attempt, { outcome: 'unknown', code: 'TIMEOUT' })).toMatchObject({ kind: 'again' });
    }
    await opened();
    await database.rows(
      `update outbound_sender.outbound_message set lease_until = now() - interval '1 s' where status = 'sending'`,
    );
    expect(await closeAbandoned({ db: database.db, now, random: () => 0, log: silentLog })).toBe(1);
    expect(await opened()).toMatchObject({ outboundMessageId: card, unknownCount: 5 });
  });

  it('goes before the answers that wait for the same budget', async () => {
    await database.record({ lane: 'answer' });
    const card = await database.record({ lane: 'answer', content: cardContent });
    expect((await opened()).outboundMessageId).toBe(card);
  });

  it.each([
    ['reply address', buildReply({ expiresAtMs: Date.now() + 3_600_000 })],
    ['custom robot', { kind: 'custom_robot', robot: 'ops-alerts' }],
  ] as [string, OutboundTarget][])('cannot leave by a %s', async (_, target) => {
    const id = await database.record({ content: cardContent, target });
    expect(await open()).toBe('again');
    expect(await statusOf(id)).toEqual({ status: 'failed', reason: 'NO_WAY_TO_RECIPIENT' });
  });
});

describe('a recall', () => {
  it('names the handle of every accepted part', async () => {
    const long = 'line of a long text\n'.repeat(1_000);
    const original = await say(['k1', 'k2'], { text: long });
    expect(await statusOf(original)).toMatchObject({ status: 'accepted' });
    const id = await recall(original);
    const attempt = await opened();
    expect(attempt).toMatchObject({ path: 'recall', target: group, processQueryKeys: ['k1', 'k2'] });
    await close(attempt);
    expect(await statusOf(id)).toEqual({ status: 'accepted', reason: null });
  });

  it.each<[string, OutboundTarget, OutboundTarget]>([
    ['a group reply', buildReply({ expiresAtMs: null }), group],
    ['a single chat', person, person],
    ['a reply in a single chat', buildReply({ kind: 'single', expiresAtMs: null }), person],
    ['a card', group, group],
  ])('takes back %s', async (name, target, asked) => {
    const id = await database.record({ target, ...(name === 'a card' && { content: cardContent }) });
    await close(await opened(), { processQueryKey: 'k' });
    await recall(id, asked);
    expect(await opened()).toMatchObject({ path: 'recall', processQueryKeys: ['k'] });
  });

  it.each<[string, OutboundTarget, OutboundTarget]>([
    ['another robot', group, { ...group, robotCode: 'dingother' }],
    ['another conversation', group, { ...group, conversationId: 'cid-2' }],
    ['another person', person, { ...person, staffId: 'staff-2' }],
    ['a person asked for from a group', person, group],
    ['a group asked for from a single chat', group, person],
    ['a custom robot', { kind: 'custom_robot', robot: 'ops-alerts' }, group],
  ])('is not allowed for the words of %s', async (_, target, asked) => {
    const id = await recall(await say(['k'], { target }), asked);
    expect(await open()).toBe('again');
    expect(await statusOf(id)).toEqual({ status: 'failed', reason: 'RECALL_NOT_ALLOWED' });
  });

  it('is not allowed across environments, nor for what is not in the ledger', async () => {
    const original = await say(['k']);
    await database.rows(`update outbound_sender.outbound_message set environment = 'production'`);
    for (const id of [await recall(original), await recall(newId())]) {
      expect(await open()).toBe('again');
      expect(await statusOf(id)).toEqual({ status: 'failed', reason: 'RECALL_NOT_ALLOWED' });
    }
    expect(await database.rows('select from outbound_sender.delivery_attempt')).toHaveLength(1);
  });

  it.each<[string, (original: string) => Promise<unknown>, (string | null)[]]>([
    ['a part left by a reply address', () => Promise.resolve(), ['k1', null]],
    [
      'it is older than 24 h',
      () => database.rows(`update outbound_sender.delivery_attempt set started_at = now() - interval '24 hours'`),
      ['k1', 'k2'],
    ],
    [
      'it was never accepted',
      () => database.rows(`update outbound_sender.delivery_attempt set outcome = 'unknown'`),
      ['k1', 'k2'],
    ],
  ])('is impossible when %s', async (_, age, keys) => {
    const original = await say(keys, { text: 'line of a long text\n'.repeat(1_000) });
    await age(original);
    const id = await recall(original);
    expect(await open()).toBe('again');
    expect(await statusOf(id)).toEqual({ status: 'failed', reason: 'RECALL_IMPOSSIBLE' });
  });

  it('waits until what it takes back has ended', async () => {
    const original = await database.record();
    const attempt = await opened();
    const id = await recall(original);
    expect(await open()).toBe('again');
    expect(await statusOf(id)).toMatchObject({ status: 'queued' });
    await close(attempt, { processQueryKey: 'k' });
    await database.rows('update outbound_sender.outbound_message set next_attempt_at = now()');
    expect(await opened()).toMatchObject({ outboundMessageId: id, processQueryKeys: ['k'] });
  });

  it('ends as unknown when its repeat is refused: the first may have worked', async () => {
    const id = await recall(await say(['k']));
    await close(await opened(), { outcome: 'unknown', code: 'TIMEOUT' });
    await close(await opened(), { outcome: 'permanent', code: 'RECALL_REFUSED' });
    expect(await statusOf(id)).toEqual({ status: 'unknown', reason: 'RECALL_REFUSED' });
  });
});

describe('the database', () => {
  it('lets no attempt go by a path that cannot carry its content, as the version before would try', async () => {
    const write = (id: string, path: string) =>
      sql`insert into outbound_sender.delivery_attempt (id, outbound_message_id, number, part, path)
          values (${newId()}, ${id}, 9, 0, ${path})`.execute(database.db);
    const card = await database.record({ content: cardContent });
    const words = await database.record();
    for (const [id, path] of [
      [card, 'group_openapi'],
      [card, 'card_update'],
      [words, 'card'],
      [words, 'recall'],
      [words, 'telepathy'],
    ] as const)
      await expect(write(id, path)).rejects.toMatchObject({ code: '23514' });
    await write(card, 'card');
    await write(words, 'person_openapi');
  });
});
