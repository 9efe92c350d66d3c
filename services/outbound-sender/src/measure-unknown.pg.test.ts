import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { createMetrics } from '@steward/service-kit';
import { measureUnknown } from './measure-unknown.ts';
import { openTestDatabase } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

it('counts the messages that nobody knows of, and how long the oldest has waited', async () => {
  const metrics = createMetrics('test');
  const read = async (name: string) => {
    await measureUnknown({ db: database.db, metrics });
    const text = await metrics.registry.metrics();
    return Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'm').exec(text)?.[1]);
  };
  expect([await read('steward_outbound_unknown'), await read('steward_outbound_unknown_oldest_seconds')]).toEqual([
    0, 0,
  ]);
  for (let at = 0; at < 3; at += 1) await database.record();
  await database.rows(
    `update outbound_sender.outbound_message set status = 'unknown', ended_at = now() - interval '120 s'
     where id in (select id from outbound_sender.outbound_message limit 2)`,
  );
  expect(await read('steward_outbound_unknown')).toBe(2);
  expect(await read('steward_outbound_unknown_oldest_seconds')).toBeGreaterThanOrEqual(120);
});
