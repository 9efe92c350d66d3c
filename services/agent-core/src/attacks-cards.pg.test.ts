import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { newId } from '@steward/service-kit';
import { cardClickedSchema, type CardClicked } from '@steward/contracts';
import { createClickWorker, decideClick } from './approvals/work-clicks.ts';
import { buildAttackConfig, openAttacked, type AttackDatabase } from './attacks.test-support.ts';
import { approvalsRoom, corpId, newClick, people } from './gate.test-support.ts';
import { recordCardClick } from './record-card-click.ts';
import { openTestDatabase } from './testing.ts';
import { waitUntil } from '@steward/testkit';

let database: AttackDatabase;
let attacked: Awaited<ReturnType<typeof openAttacked>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  attacked = await openAttacked(database, { config: buildAttackConfig({ cards: true }) });
});
afterAll(() => database.close());

const { li, han, zhao, wang } = people;

/** An open request and the honest press of its button in the room where it was asked. */
async function askWithCard(who: string = li, tool = 'restart') {
  await attacked.talk.say(who, `/run ${tool} service=web`);
  const [row] = await database.rows<{ id: string; digest: string; track: string }>(
    `select r.id, encode(r.digest, 'hex') as digest, p.out_track_id as track from agent_core.approval_request r
     join agent_core.approval_place p on p.request_id = r.id and p.conversation_id = 'cid-1' order by r.created_at desc limit 1`,
  );
  if (row === undefined) throw new Error('no card was shown');
  const press = (over: Record<string, unknown> = {}): CardClicked['body'] => ({
    ...newClick({ outTrackId: row.track, params: { action: 'approve', digest: row.digest } }),
    ...over,
  });
  return { ...row, press };
}
const decide = (click: CardClicked['body']) => decideClick(attacked.context, click, newId());

describe('a press of a button', () => {
  it('decides once, whoever presses again and however often it is delivered', async () => {
    const { press } = await askWithCard();
    const click = press({ spaceId: 'cid-1' });
    expect(await decide(click)).toBe('approved');
    expect(await decide(click)).toBe('approved');
    expect(await decide(press())).toBe('closed');
    expect(await decide(press({ staffId: zhao, params: { ...click.params, action: 'deny' } }))).toBe('closed');
    await attacked.talk.workAll();
    expect(attacked.system.effects).toHaveLength(1);
    expect(await database.rows('select from agent_core.approval_vote')).toHaveLength(1);
    expect(await attacked.statuses()).toEqual(['used']);
  });

  it('does not approve what its presser asked for', async () => {
    const { press } = await askWithCard(han);
    expect(await decide(press({ staffId: han }))).toBe('vote_of_requester');
    await attacked.expectUntouched();
    expect(await attacked.audited(/^approval\.refused/)).toEqual(['approval.refused vote_of_requester']);
  });

  it('counts only for people with the role', async () => {
    const { press } = await askWithCard();
    for (const staffId of [li, wang, 'nobody', 'staff-２', 'ѕtaff-2'])
      expect(await decide(press({ staffId }))).toBe('vote_without_role');
    await attacked.expectUntouched();
    expect(await attacked.audited(/^approval\.refused/)).toHaveLength(5);
  });
});

describe('a forged press', () => {
  const forged: [string, (digest: string) => Record<string, unknown>, string][] = [
    ['of a card that nobody sent', () => ({ outTrackId: newId() }), 'unknown_card'],
    ['of a card named like a trap', () => ({ outTrackId: "' or true --" }), 'unknown_card'],
    ['that came by another app', () => ({ app: 'app-key-2' }), 'other_app'],
    ['that came by an app of another organisation', () => ({ app: 'key-of-foreign' }), 'other_app'],
    ['of the other environment', () => ({ environment: 'production' }), 'other_environment'],
    ['in another space', () => ({ spaceId: 'cid-2' }), 'other_space'],
    ['in a space whose name holds that of the right one', () => ({ spaceId: 'cid-12' }), 'other_space'],
    ['of nobody’s organisation', () => ({ corpId: null }), 'vote_of_unknown_person'],
    ['of an organisation without a name', () => ({ corpId: '' }), 'vote_of_unknown_person'],
    ['of another organisation with the same staff id', () => ({ corpId: 'corp-2' }), 'vote_of_another_corp'],
    ['without an action', (digest) => ({ params: { digest } }), 'unknown_action'],
    ['with a loud action', (digest) => ({ params: { action: 'APPROVE', digest } }), 'unknown_action'],
    ['with an action in a list', (digest) => ({ params: { action: ['approve'], digest } }), 'unknown_action'],
    ['with an action in an object', (digest) => ({ params: { action: { approve: true }, digest } }), 'unknown_action'],
    ['with an inherited action', (digest) => ({ params: { action: 'constructor', digest } }), 'unknown_action'],
    ['without a digest', () => ({ params: { action: 'approve' } }), 'no_digest'],
    ['with a digest in a list', (digest) => ({ params: { action: 'approve', digest: [digest] } }), 'no_digest'],
    [
      'with no more than half a digest',
      (digest) => ({ params: { action: 'approve', digest: digest.slice(32) } }),
      'digest',
    ],
    [
      'with a digest of other letters',
      (digest) => ({ params: { action: 'approve', digest: digest.toUpperCase() } }),
      'digest',
    ],
    ['with parameters in a list', () => ({ params: ['approve'] }), 'unreadable'],
    ['without anybody', () => ({ staffId: '' }), 'unreadable'],
    ['of a megabyte', (digest) => ({ params: { action: 'approve', digest, x: 'x'.repeat(1_000_000) } }), 'unreadable'],
  ];
  it.each(forged)('%s decides nothing', async (_, change, outcome) => {
    const { press, digest } = await askWithCard();
    expect(await decide(press(change(digest)))).toBe(outcome);
    await attacked.expectUntouched();
  });

  it.each(forged.filter(([, , outcome]) => outcome !== 'unreadable'))('%s is on record', async (_, change, outcome) => {
    const { press, digest } = await askWithCard();
    await decide(press(change(digest)));
    expect(await attacked.audited(/^(card\.ignored|approval\.refused)/)).toEqual([
      expect.stringMatching(new RegExp(`^(card\\.ignored|approval\\.refused) ${outcome}$`)),
    ]);
  });

  it('with the digest of another open request decides neither', async () => {
    const { press } = await askWithCard();
    const other = await askWithCard(li, 'scale');
    const params = { action: 'approve', digest: other.digest };
    expect(await decide(press({ params }))).toBe('digest');
    expect(await attacked.statuses()).toEqual(['pending', 'pending']);
    expect(attacked.system.effects).toEqual([]);
    expect(await attacked.audited(/^approval\.refused/)).toEqual(['approval.refused digest']);
  });

  it('of the card in the approvals room, said to come from the room of the requester, decides nothing', async () => {
    const { id, press } = await askWithCard();
    const [place] = await database.rows<{ track: string }>(
      `select out_track_id as track from agent_core.approval_place where request_id = '${id}' and conversation_id = '${approvalsRoom}'`,
    );
    expect(await decide(press({ outTrackId: place?.track, spaceId: 'cid-1' }))).toBe('other_space');
    await attacked.expectUntouched();
  });

  it('after somebody left the organisation, or before the platform vouches for them again, decides nothing', async () => {
    const { press } = await askWithCard();
    await database.rows(
      `insert into agent_core.directory_person (corp_id, staff_id, robot_code, state) values ('${corpId}', '${han}', 'dingtest', 'left')`,
    );
    expect(await decide(press())).toBe('vote_without_role');
    await attacked.expectUntouched();
  });
});

describe('the worker of clicks', () => {
  const record = async (body: CardClicked['body']) => {
    const clicked = cardClickedSchema.parse({
      type: 'card.clicked.v1',
      id: newId(),
      correlationId: newId(),
      causationId: body.inboundEventId,
      occurredAt: new Date().toISOString(),
      body,
    });
    const o = { db: database.db, now: () => new Date() };
    // Whatever the bus does, one delivery is one row.
    expect(await recordCardClick(o, clicked)).toBe(true);
    expect(await recordCardClick(o, clicked)).toBe(false);
  };
  const outcomes = async () =>
    (
      await database.rows<{ outcome: string | null }>('select outcome from agent_core.card_click order by recorded_at')
    ).map(({ outcome }) => outcome);

  it('decides by what was recorded, in its order, each once, whoever else works on it', async () => {
    const { press } = await askWithCard();
    await record(press({ inboundEventId: newId(), staffId: wang }));
    await record(press({ inboundEventId: newId() }));
    await record(press({ inboundEventId: newId(), staffId: zhao }));
    const workers = [createClickWorker(attacked.context), createClickWorker(attacked.context)];
    for (const worker of workers) worker.start();
    await waitUntil(async () => (await outcomes()).every((outcome) => outcome !== null), {
      timeoutMs: 10_000,
      what: 'every click to be decided',
    });
    for (const worker of workers) await worker.stop();
    expect(await outcomes()).toEqual(['vote_without_role', 'approved', 'closed']);
    expect(await database.rows('select from agent_core.tool_grant')).toHaveLength(1);
  });
});
