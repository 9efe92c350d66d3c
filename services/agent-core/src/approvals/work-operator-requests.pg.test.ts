import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import { toSignedClaims } from '@steward/governance';
import { waitUntil } from '@steward/testkit';
import { buildAttackConfig, openAttacked, type AttackDatabase } from '../attacks.test-support.ts';
import { corpId, people } from '../gate.test-support.ts';
import { openTestDatabase } from '../testing.ts';
import { createOperatorWorker } from './work-operator-requests.ts';

let database: AttackDatabase;
let attacked: Awaited<ReturnType<typeof openAttacked>>;
const { han, zhao, wang, li } = people;
const keyOf: Record<string, { publicKey: KeyObject; privateKey: KeyObject }> = {
  [li]: generateKeyPairSync('ed25519'),
  [han]: generateKeyPairSync('ed25519'),
  [zhao]: generateKeyPairSync('ed25519'),
};
const toRaw = (key: KeyObject) => key.export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64');
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  const keys = Object.fromEntries(Object.entries(keyOf).map(([staffId, { publicKey }]) => [staffId, toRaw(publicKey)]));
  attacked = await openAttacked(database, { config: buildAttackConfig({ keys }) });
});
afterAll(() => database.close());

type Answer = { ok: boolean; text: string };
type Body = Record<string, unknown>;

/** Inserts requests as the operator's role may, lets the worker answer them, and returns the answers in the order of asking. */
async function ask(...requests: { verb: string; body: Body; account?: string }[]): Promise<Answer[]> {
  const ids: string[] = [];
  for (const { verb, body, account = 'root' } of requests) {
    const id = newId();
    ids.push(id);
    await sql`insert into agent_core.operator_request (id, verb, body, asked_by)
      values (${id}, ${verb}, ${JSON.stringify(body)}, ${account})`.execute(database.admin);
  }
  const worker = createOperatorWorker(attacked.context);
  worker.start();
  const read = () =>
    database.rows<{ id: string; answer: Answer | null }>('select id, answer from agent_core.operator_request');
  await waitUntil(async () => (await read()).every(({ answer }) => answer !== null), {
    timeoutMs: 10_000,
    what: 'the operator to be answered',
  });
  await worker.stop();
  const rows = await read();
  return ids.map((id) => rows.find((row) => row.id === id)?.answer ?? { ok: false, text: 'no row' });
}

const signed = (verb: string, claims: Body, signer = String(claims['staffId'])): Body => {
  const key = keyOf[signer]?.privateKey;
  if (key === undefined) throw new Error('nobody has that key');
  return { ...claims, signature: sign(null, toSignedClaims(verb, claims), key).toString('base64') };
};
const now = (shiftMs = 0) => new Date(Date.now() + shiftMs).toISOString();

async function claimsFor(code: string, over: Body = {}): Promise<Body> {
  const [row] = await database.rows<{ digest: string }>(
    `select encode(digest, 'hex') as digest from agent_core.approval_request where code = '${code}'`,
  );
  const claims = { environment: 'test', corpId, staffId: han, code, digest: row?.digest, reason: null, at: now() };
  return { ...claims, ...over };
}
const approve = (body: Body) => ({ verb: 'approvals.approve', body });
const refused = async () => attacked.audited(/^operator\.asked refused/);

describe('an approval at the command line', () => {
  it('counts as the person whose registered key signed it, once, and is on record', async () => {
    const code = await attacked.ask();
    const body = signed('approvals.approve', await claimsFor(code));
    expect(await ask(approve(body))).toEqual([{ ok: true, text: expect.stringContaining('approved') }]);
    expect((await attacked.talk.workAll()).length).toBeGreaterThan(0);
    expect(attacked.system.effects).toHaveLength(1);
    expect(await database.rows('select staff_id, door from agent_core.approval_vote')).toEqual([
      { staff_id: han, door: 'cli' },
    ]);
    expect(await attacked.audited(/^operator\./)).toEqual(['operator.asked done']);
  });

  it('does not count for the requester', async () => {
    const code = await attacked.ask('/run restart service=web', han);
    const [answer] = await ask(approve(signed('approvals.approve', await claimsFor(code))));
    expect(answer).toEqual({ ok: false, text: expect.stringContaining('another person') });
    await attacked.expectUntouched();
    expect(await attacked.audited(/refused/)).toEqual(['approval.refused vote_of_requester', 'operator.asked refused']);
  });

  it.each<[string, (claims: Body) => Body, RegExp]>([
    ['the key of another', (claims) => signed('approvals.approve', claims, zhao), /does not fit/],
    [
      'a key for the name of somebody without one',
      (claims) => signed('approvals.approve', { ...claims, staffId: wang }, zhao),
      /no operator key/,
    ],
    [
      'the name in another organisation',
      (claims) => signed('approvals.approve', { ...claims, corpId: 'corp-2' }),
      /no operator key/,
    ],
    ['a signature for another verb', (claims) => signed('unfreeze', claims), /does not fit/],
    [
      'a signature of yesterday',
      (claims) => signed('approvals.approve', { ...claims, at: now(-86_400_000) }),
      /too old/,
    ],
    ['a signature of tomorrow', (claims) => signed('approvals.approve', { ...claims, at: now(86_400_000) }), /too old/],
    ['a signature without its day', (claims) => signed('approvals.approve', { ...claims, at: 'today' }), /needs/],
    [
      'a reason that was added',
      (claims) => ({ ...signed('approvals.approve', claims), reason: 'all agreed' }),
      /does not fit/,
    ],
    ['another person put in', (claims) => ({ ...signed('approvals.approve', claims), staffId: zhao }), /does not fit/],
    [
      'a claim that nobody signed',
      (claims) => ({ ...signed('approvals.approve', claims), at: now(1) }),
      /does not fit/,
    ],
    [
      'another digest',
      (claims) => signed('approvals.approve', { ...claims, digest: '0'.repeat(64) }),
      /another version/,
    ],
    ['no signature', (claims) => ({ ...claims, signature: '' }), /does not fit/],
    ['zeros', (claims) => ({ ...claims, signature: Buffer.alloc(64).toString('base64') }), /does not fit/],
  ])('with %s is refused', async (_, forge, why) => {
    const code = await attacked.ask();
    const [answer] = await ask(approve(forge(await claimsFor(code))));
    expect(answer).toEqual({ ok: false, text: expect.stringMatching(why) });
    await attacked.expectUntouched();
    expect(await refused()).toHaveLength(1);
  });

  it('names a request of its own environment, or none', async () => {
    const code = await attacked.ask();
    const [answer] = await ask(
      approve(signed('approvals.approve', await claimsFor(code, { environment: 'production' }))),
    );
    expect(answer?.text).toContain('there is no request');
    await attacked.expectUntouched();
  });

  it('is not stretched by this process’s clock', async () => {
    const slow = { now: () => new Date(Date.now() - 7_200_000) };
    attacked = await openAttacked(database, { ...slow, config: attacked.config });
    const code = await attacked.ask();
    const old = signed('approvals.approve', await claimsFor(code, { at: now(-7_200_000) }));
    expect((await ask(approve(old)))[0]).toEqual({ ok: false, text: expect.stringContaining('too old') });
    await attacked.expectUntouched();
    const fresh = signed('approvals.approve', await claimsFor(code));
    expect((await ask(approve(fresh)))[0]).toMatchObject({ ok: true });
  });
});

describe('a signature that was copied', () => {
  const freeze = (account: string) => ({ verb: 'freeze', body: { environment: 'test', reason: 'fire' }, account });
  const unfreeze = (body: Body) => ({ verb: 'unfreeze', body });
  const claims = () => ({ environment: 'test', reason: 'over', corpId, staffId: han, at: now() });

  it('does not open what was frozen again since', async () => {
    const body = signed('unfreeze', claims());
    const answers = await ask(freeze('root'), unfreeze(body), freeze('root'), unfreeze(body));
    expect(answers.map(({ ok }) => ok)).toEqual([true, true, true, false]);
    expect(answers[3]?.text).toContain('used already');
    expect(await database.rows(`select from agent_core.freeze where frozen`)).toHaveLength(1);
    expect(await refused()).toHaveLength(1);
  });

  it('is known again however its text is written', async () => {
    const body = signed('unfreeze', claims());
    const text = String(body['signature']);
    const disguises = [
      `${text} `,
      `${text}\n`,
      text.replace(/=+$/, ''),
      `${text}AAAA`,
      text.replace(/(.)==$/, (_, last: string) => `${String.fromCharCode(last.charCodeAt(0) + 1)}==`),
    ];
    await ask(freeze('root'), unfreeze(body), freeze('root'));
    const answers = await ask(...disguises.map((signature) => unfreeze({ ...body, signature })));
    expect(answers.map(({ ok }) => ok)).toEqual(disguises.map(() => false));
    expect(await database.rows(`select from agent_core.freeze where frozen`)).toHaveLength(1);
  });

  it('does not open what its owner froze', async () => {
    await attacked.talk.say(han, '/freeze');
    const [answer] = await ask(unfreeze(signed('unfreeze', claims())));
    expect(answer).toEqual({ ok: false, text: expect.stringContaining('cannot unfreeze') });
    expect(await attacked.audited(/^freeze\.changed refused/)).toHaveLength(1);
  });

  it('of somebody without the role opens nothing', async () => {
    await ask(freeze('root'));
    const [answer] = await ask(unfreeze(signed('unfreeze', { ...claims(), staffId: li })));
    expect(answer).toEqual({ ok: false, text: expect.stringContaining('roles') });
  });
});

describe('the operating system’s word', () => {
  it('denies and freezes, and neither approves nor opens', async () => {
    const code = await attacked.ask();
    const [frozen, opened, approved, denied] = await ask(
      { verb: 'freeze', body: { environment: 'test', reason: 'fire' } },
      { verb: 'unfreeze', body: { environment: 'test', reason: 'over' } },
      approve(await claimsFor(code)),
      { verb: 'approvals.deny', body: { environment: 'test', corpId, code, reason: 'no' } },
    );
    expect([frozen?.ok, opened?.ok, approved?.ok, denied?.ok]).toEqual([true, false, false, true]);
    expect(await attacked.statuses()).toEqual(['cancelled']);
    expect(await database.rows(`select from agent_core.freeze where frozen`)).toHaveLength(1);
    expect(attacked.system.effects).toEqual([]);
  });

  it.each([
    ['an unknown verb', 'approvals.approve ', {}],
    ['a verb that every object has', 'constructor', {}],
    ['a denial without a reason', 'approvals.deny', { environment: 'test', corpId, code: '2222', reason: '' }],
    ['a denial of what is not there', 'approvals.deny', { environment: 'test', corpId, code: '2222', reason: 'no' }],
    ['a freeze of nowhere', 'freeze', { environment: 'everywhere', reason: 'x' }],
  ])('is refused where it is %s', async (_, verb, body) => {
    expect(await ask({ verb, body })).toEqual([{ ok: false, text: expect.any(String) }]);
    expect(await refused()).toHaveLength(1);
  });

  it('is not worked on when it is old: nobody waits for the answer any more', async () => {
    await database.rows(
      `insert into agent_core.operator_request (id, verb, body, asked_by, asked_at)
       values ('${newId()}', 'freeze', '{"environment":"test","reason":"old"}', 'root', now() - interval '11 minutes')`,
    );
    const fresh = newId();
    await database.rows(
      `insert into agent_core.operator_request (id, verb, body, asked_by)
       values ('${fresh}', 'nothing', '{}', 'root')`,
    );
    const worker = createOperatorWorker(attacked.context);
    worker.start();
    const answered = () =>
      database.rows<{ id: string }>('select id from agent_core.operator_request where answered_at is not null');
    await waitUntil(async () => (await answered()).length > 0, { timeoutMs: 10_000, what: 'the fresh one' });
    await worker.stop();
    expect(await answered()).toEqual([{ id: fresh }]);
    expect(await database.rows(`select from agent_core.freeze where frozen`)).toHaveLength(0);
  });
});
