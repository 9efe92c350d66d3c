import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { buildAttackConfig, forceRows, openAttacked, type AttackDatabase } from './attacks.test-support.ts';
import { openTestDatabase } from './testing.ts';
import { tellCheckpoint } from './watch-checkpoint.ts';

let database: AttackDatabase;
let gate: Awaited<ReturnType<typeof openAttacked>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  await database.rows('truncate agent_core.checkpoint_told');
  gate = await openAttacked(database, { config: buildAttackConfig({ governance: { checkpointRoom: 'approvals' } }) });
});
afterAll(() => database.close());

/** A block as the sealer writes it; what it seals does not matter here. */
const seal = () =>
  forceRows(
    database,
    `insert into audit.block (number, epoch, kind, previous_hash, from_transaction, to_transaction, entry_count, root,
       sealed_at, key_id, hash, signature)
     select 1, 1, 'block', decode(repeat('00', 32), 'hex'), 0, 1, 0, sha256('root'), now(), 'key', sha256('hash'),
       decode(repeat('ab', 64), 'hex')`,
  );
const tell = (context = gate.context) => context.db.transaction().execute((trx) => tellCheckpoint(trx, context));

describe('the newest checkpoint', () => {
  it('is not there as long as nothing is sealed', async () => {
    expect(await tell()).toBe(false);
    expect(await database.rows('select from agent_core.checkpoint_told')).toHaveLength(0);
  });

  describe('of a sealed log', () => {
    beforeAll(() => seal());

    it('is said once a day in the configured room, by whichever replica looks first, as plain text', async () => {
      const replicas = [gate.context, { ...gate.context, db: database.connect() }];
      const told = await Promise.all([...replicas, ...replicas].map((context) => tell(context)));
      expect(told.filter(Boolean)).toHaveLength(1);
      const [line] = await database.rows<{ line: string }>('select line from audit.newest_checkpoint()');
      expect(await gate.told()).toMatchObject([
        {
          target: { kind: 'group', robotCode: 'dingtest', conversationId: 'cid-approvals' },
          content: { kind: 'text', text: line?.line },
          lane: 'bulk',
        },
      ]);
    });

    it('is said again the next day, by the calendar of the configured zone', async () => {
      expect(await tell()).toBe(true);
      await database.rows(`update agent_core.checkpoint_told set day = day - 1`);
      expect(await tell()).toBe(true);
      const days = await database.rows<{ days: number }>(
        `select (max(day) - min(day))::int as days from agent_core.checkpoint_told`,
      );
      expect(days).toEqual([{ days: 1 }]);
    });

    it('is said nowhere where no room, or no such room, is configured', async () => {
      for (const checkpointRoom of [undefined, 'nowhere']) {
        const governance = { ...gate.context.governance, checkpointRoom };
        expect(await tell({ ...gate.context, governance })).toBe(false);
      }
      expect(await database.rows('select from agent_core.checkpoint_told')).toHaveLength(0);
    });
  });
});
