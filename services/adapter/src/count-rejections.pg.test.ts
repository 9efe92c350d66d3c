import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createMetrics } from '@steward/service-kit';
import { waitUntil } from '@steward/testkit';
import { createRejectionCounter } from './count-rejections.ts';
import { openTestDatabase, silentLog } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

const audited = () =>
  database.rows<{ door: string; reason: string; count: number }>(
    `select detail ->> 'door' as door, detail ->> 'reason' as reason, (detail ->> 'count')::integer as count
     from audit.entry where kind = 'door.rejected' order by 1, 2`,
  );

describe('refusals', () => {
  it('are all counted, and audited as one entry for each door and reason, also after the database was away', async () => {
    const metrics = createMetrics('test');
    const rejections = createRejectionCounter({ db: database.db, log: silentLog, metrics });
    for (let n = 0; n < 1_000; n += 1) rejections.count('robot', 'SIGNATURE_MISMATCH');
    rejections.count('card', 'BODY_MALFORMED');
    await database.rows('revoke insert on audit.entry from steward_adapter');
    rejections.loop.start();
    const failed = `select from pg_stat_database where datname = current_database() and xact_rollback > 0`;
    await waitUntil(async () => (await database.rows(failed)).length > 0, {
      timeoutMs: 15_000,
      what: 'a refused insert',
    });
    rejections.count('robot', 'SIGNATURE_MISMATCH');
    expect(await audited()).toEqual([]);
    await database.rows('grant insert on audit.entry to steward_adapter');
    await waitUntil(async () => (await audited()).length > 0, { timeoutMs: 15_000, what: 'the audit entries' });
    rejections.count('stream', 'ROBOT_MISMATCH');
    await rejections.loop.stop();
    expect(await audited()).toEqual([
      { door: 'card', reason: 'BODY_MALFORMED', count: 1 },
      { door: 'robot', reason: 'SIGNATURE_MISMATCH', count: 1_001 },
      // What came after the last round is not lost when the adapter stops.
      { door: 'stream', reason: 'ROBOT_MISMATCH', count: 1 },
    ]);
    const { values } = await metrics.counter('steward_door_rejected_total', '', ['door', 'reason']).get();
    expect(values.map(({ labels, value }) => [labels.door, value])).toEqual([
      ['robot', 1_001],
      ['card', 1],
      ['stream', 1],
    ]);
  });
});
