import { createHash, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitUntil } from '@steward/testkit';
import {
  checkpointLine,
  collectBundle,
  describeBundleReport,
  explainTrace,
  generateSealKey,
  readCheckpoints,
  readPublicKeys,
  verifyBundle,
  whoTouched,
  type Bundle,
} from './index.ts';
import { addEntry, openAuditDatabase, publicKeys, transactOn } from './testing.ts';
import { addStory, type Story } from './story.test-support.ts';

let log: Awaited<ReturnType<typeof openAuditDatabase>>;
let story: Story;
const sealAll = () =>
  waitUntil(
    async () => {
      await log.seal();
      return (await log.verify()).unsealed === 0;
    },
    { timeoutMs: 15_000, what: 'every entry to be sealed' },
  );
beforeAll(async () => {
  log = await openAuditDatabase();
  await log.add(3);
  story = await addStory(log.admin);
  await sealAll();
  await log.add(2);
  await sealAll();
  await addEntry(log.admin, randomUUID(), { correlationId: story.correlationId });
  await sealAll();
});
afterAll(() => log.close());

describe('an evidence bundle', () => {
  const collect = () =>
    collectBundle({
      query: log.operator,
      correlationId: story.correlationId,
      now: () => new Date('2026-11-25T10:00:00Z'),
    });
  const change = (bundle: Bundle, alter: (copy: Bundle) => void): string => {
    const copy = structuredClone(bundle);
    alter(copy);
    return JSON.stringify(copy);
  };
  const first = <T>(list: T[]): T => {
    const [one] = list;
    if (one === undefined) throw new Error('empty');
    return one;
  };

  it('verifies offline, entry by entry, with the public key alone', async () => {
    const bundle = await collect();
    const report = verifyBundle(JSON.stringify(bundle), publicKeys);
    expect(report).toMatchObject({ outcome: 'fine', exitCode: 0, faults: [], unsealed: 0, linked: true });
    expect(report.proved).toBe(bundle.entries.length);
    expect(bundle.blocks.length).toBeGreaterThan(1);
    expect(describeBundleReport(report).at(-1)).toBe('FINE');
    const personal = bundle.entries.map(({ personal: found }) => found).filter(({ state }) => state === 'kept');
    expect(JSON.stringify(personal)).toContain('Restart web?');
  });

  it.each<[string, (copy: Bundle) => void]>([
    ['an edited entry', ({ entries }) => (first(entries).entry.outcome = 'other')],
    ['an edited time', ({ entries }) => (first(entries).entry.occurredAt = '2020-01-01T00:00:00.000000Z')],
    ['another place in the block', ({ entries }) => void (first(entries).proof = { ...proofOf(entries), index: 1 })],
    ['a proof of another entry', ({ entries }) => void (first(entries).proof = entries[1]?.proof ?? null)],
    ['a proof taken away', ({ entries }) => void (first(entries).proof = null)],
    [
      'edited personal text',
      ({ entries }) => entries.forEach((each) => each.personal.state === 'kept' && (each.personal.body += ' ')),
    ],
    [
      'personal text taken away',
      ({ entries }) => entries.forEach((each) => each.personal.state === 'kept' && (each.personal = { state: 'none' })),
    ],
    ['an entry of another story', ({ entries }) => void (first(entries).entry.correlationId = randomUUID())],
    ['an edited block', ({ blocks }) => void (first(blocks).entryCount += 1)],
    ['another root', ({ blocks }) => void (first(blocks).root = 'ab'.repeat(32))],
    ['a block taken away', ({ blocks }) => void blocks.shift()],
    ['another correlation id', (copy) => void (copy.correlationId = randomUUID())],
  ])('is refused with %s', async (_, alter) => {
    const report = verifyBundle(change(await collect(), alter), publicKeys);
    expect(report).toMatchObject({ outcome: 'bad', exitCode: 1 });
    expect(report.faults.length).toBeGreaterThan(0);
  });
  const proofOf = (entries: Bundle['entries']) => first(entries).proof ?? { block: 1, index: 0, path: [] };

  it('that has lost its proofs and blocks proves nothing, and says so', async () => {
    const bare = change(await collect(), (copy) => {
      copy.entries.forEach((each) => (each.proof = null));
      copy.blocks = [];
    });
    const report = verifyBundle(bare, publicKeys);
    expect(report).toMatchObject({ outcome: 'unproved', exitCode: 3, proved: 0, linked: false, faults: [] });
    expect(describeBundleReport(report).at(-1)).toMatch(/NOT EVERY ENTRY IS PROVED$/);
  });

  it('has the text of every policy set that its entries name, which its hash proves', async () => {
    const source =
      '{"files":[{"name":"a.cedar","text":"permit (principal, action, resource);"}],"schema":{},"tools":[]}';
    const policyHash = createHash('sha256').update(source).digest('hex');
    const record = (hash: string, text: string) =>
      log.as('steward_agent_core').query('select audit.record_policy($1, $2)', [hash, text]);
    await record(policyHash, source);
    await record(policyHash, source);
    await expect(record(policyHash.replace(/^./, 'x'), source)).rejects.toMatchObject({ code: '23514' });
    await expect(
      record(createHash('sha256').update('x'.repeat(1_048_577)).digest('hex'), 'x'.repeat(1_048_577)),
    ).rejects.toMatchObject({ code: '23514' });
    await expect(log.as('steward_adapter').query(`select audit.record_policy('a', 'b')`)).rejects.toMatchObject({
      code: '42501',
    });
    const correlationId = randomUUID();
    for (const hash of [policyHash, 'f'.repeat(64)])
      await log.admin(
        `insert into audit.entry (id, service, kind, outcome, correlation_id, policy_hash)
         values (gen_random_uuid(), 'agent-core', 'call.judged', 'allow', $1, $2)`,
        [correlationId, hash],
      );
    await sealAll();
    const bundle = await collectBundle({ query: log.operator, correlationId, now: () => new Date(0) });
    expect(bundle.policies).toEqual([{ hash: policyHash, source }]);
    const report = verifyBundle(JSON.stringify(bundle), publicKeys);
    const missing = { hash: 'f'.repeat(64), text: 'missing' };
    expect(report).toMatchObject({
      exitCode: 0,
      policies: [{ hash: policyHash, text: 'whole' }, missing].toSorted(byHash),
    });
    expect(describeBundleReport(report)).toContain(`policy set ${missing.hash}: its text is not in the bundle`);
    const altered = verifyBundle(
      change(bundle, ({ policies }) => void (first(policies).source += ' ')),
      publicKeys,
    );
    expect(altered).toMatchObject({ exitCode: 1, faults: [{ code: 'policy_altered' }] });
  });
  const byHash = (a: { hash: string }, b: { hash: string }) => (a.hash < b.hash ? -1 : 1);

  it('proves both of two entries of one id in one transaction', async () => {
    const [id, correlationId] = [randomUUID(), randomUUID()];
    await transactOn(log.as('admin'))(async (query) => {
      await addEntry(query, id, { correlationId });
      await addEntry(query, id, { correlationId, detail: { second: true } });
    });
    await sealAll();
    const bundle = await collectBundle({ query: log.operator, correlationId, now: () => new Date(0) });
    expect(verifyBundle(JSON.stringify(bundle), publicKeys)).toMatchObject({ exitCode: 0, proved: 2, faults: [] });
  });

  it('is refused with a key that did not sign it, and when it is no bundle', async () => {
    const text = JSON.stringify(await collect());
    expect(verifyBundle(text, readPublicKeys(generateSealKey().publicKeyPem)).faults[0]?.code).toBe('key_unknown');
    for (const broken of ['', '{}', text.slice(0, -1), '[1]'])
      expect(() => verifyBundle(broken, publicKeys)).toThrow(expect.objectContaining({ code: 'BUNDLE_INVALID' }));
  });

  it('says which entries were not sealed when it was made', async () => {
    const correlationId = randomUUID();
    await addEntry(log.admin, randomUUID(), { correlationId });
    const bundle = await collectBundle({ query: log.operator, correlationId, now: () => new Date(0) });
    expect(verifyBundle(JSON.stringify(bundle), publicKeys)).toMatchObject({
      ...{ outcome: 'unproved', exitCode: 3, faults: [], proved: 0, unsealed: 1, linked: false },
    });
    await sealAll();
  });

  it('says who erased personal text', async () => {
    const [row] = await log.operator<{ id: string }>(
      'select d.entry_id::text as id from audit.detail d join audit.entry e on e.id = d.entry_id where e.correlation_id = $1',
      [story.correlationId],
    );
    await log.operator('select audit.erase_detail($1, $2, $3)', [row?.id, 'li.wei', 'asked']);
    await sealAll();
    const bundle = await collect();
    const report = verifyBundle(JSON.stringify(bundle), publicKeys);
    expect(report).toMatchObject({ outcome: 'fine', erased: 1 });
    expect(JSON.stringify(bundle)).not.toContain('Restart web?');
  });

  it('of nothing is refused', async () => {
    const collectNothing = collectBundle({ query: log.operator, correlationId: randomUUID(), now: () => new Date(0) });
    await expect(collectNothing).rejects.toMatchObject({ code: 'AUDIT_NOT_FOUND' });
  });
});

describe('why', () => {
  it.each(['msgId', 'code', 'requestId', 'toolCallId', 'turnId', 'outboundMessageId', 'correlationId'] as const)(
    'tells the whole story from the door to the delivery, found by %s',
    async (name) => {
      const lines = await explainTrace({ query: log.operator, id: story[name], timeZone: 'Asia/Shanghai' });
      const text = lines.join('\n');
      const order = [
        'robot_message came in through http',
        'turn in lane answer',
        'call of restart_service proposed by requester-1: ask',
        'approval request 7F3K by requester-1',
        'approve of 7F3K by approver-1',
        'grant by approval: consumed',
        'restart_service was called: done',
        'outbound message in lane answer: accepted',
        'sent by session_webhook: accepted',
      ];
      const places = order.map((step) => text.indexOf(step));
      expect(places.every((place) => place > 0)).toBe(true);
      expect(places).toEqual(places.toSorted((a, b) => a - b));
      expect(lines[1]).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} {4}\+0\.000 s /);
      expect(text).toContain('audit: approval.decided approved by approver-1');
    },
  );

  it('says so when nothing is known by an id', async () => {
    const explain = explainTrace({ query: log.operator, id: `'; drop table x`, timeZone: 'Asia/Shanghai' });
    await expect(explain).rejects.toMatchObject({ code: 'AUDIT_NOT_FOUND' });
  });
});

describe('who touched', () => {
  it.each(['restart_service', 'web'])('%s is found, with requester and approvers', async (target) => {
    const touches = await whoTouched({ query: log.operator, target, since: '2000-01-01Z' });
    expect(touches).toEqual([
      expect.objectContaining({ tool: 'restart_service', requester: 'requester-1', approvers: ['approver-1'] }),
    ]);
  });

  it('finds nothing for what nobody touched', async () => {
    expect(await whoTouched({ query: log.operator, target: 'we', since: '2000-01-01Z' })).toEqual([]);
  });
});

describe('the newest checkpoint', () => {
  it('is the same line in the database and here', async () => {
    const [row] = await log.operator<{ line: string }>('select line from audit.newest_checkpoint()');
    const [checkpoint] = readCheckpoints(row?.line ?? '');
    expect(checkpoint && checkpointLine(checkpoint)).toBe(row?.line);
    expect(await log.verify({ checkpoints: checkpoint && [checkpoint] })).toMatchObject({ exitCode: 0 });
  });
});
