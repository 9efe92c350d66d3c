import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Chaos, Fault } from '../fault.ts';
import { noWitness } from '../fault.ts';
import { ask, countRefused, ownRoom, see } from './seen.ts';

const spareBytes = 2 * 1024 * 1024;
const questions = 90;

export const fullDisk: Fault = {
  number: 9,
  name: 'the disk of the ledger is full',
  allows: [],
  inject: async (chaos, onHeal) => {
    const { sql } = chaos.stack;
    const disk = await mountSmallDisk(chaos);
    onHeal(async () => {
      await sql('drop table if exists public.chaos_filler');
      await sql('alter table adapter.inbound_event set tablespace pg_default');
      // What was dropped lies there until the next checkpoint.
      await sql('checkpoint');
      await sql('drop tablespace if exists chaos_small');
      disk.unmount();
    });
    await sql(`create tablespace chaos_small location '${disk.folder}'`);
    await sql('alter table adapter.inbound_event set tablespace chaos_small');
    await sql('create table public.chaos_filler (filler text) tablespace chaos_small');
    const since = Date.now();
    const rows = await fill(chaos);
    // More than fits into what is left of the last page.
    Array.from({ length: questions }, (_, at) => ask(chaos, { room: ownRoom(at % 6) }));
    const refused = await see('deliveries to be refused', () => countRefused(chaos, since));
    return async () => `${rows} rows filled the disk to its last page; ${refused} deliveries were refused`;
  },
};

/** A file system of its own for the ledger, a little larger than the ledger is. Needs the right to mount. */
async function mountSmallDisk({ stack }: Chaos): Promise<{ folder: string; unmount: () => void }> {
  const [size] = await stack.sql<{ bytes: string }>(`select pg_table_size('adapter.inbound_event')::text as bytes`);
  // Who Postgres runs as is who its files belong to.
  const [data] = await stack.sql<{ data_directory: string }>('show data_directory');
  const { uid, gid } = statSync(data?.data_directory ?? '');
  const folder = mkdtempSync(path.join(tmpdir(), 'steward-chaos-disk-'));
  const options = `size=${Number(size?.bytes) + spareBytes},mode=0700,uid=${uid},gid=${gid}`;
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder], { stdio: 'pipe' });
  } catch {
    rmdirSync(folder);
    throw noWitness('a small file system could not be mounted here');
  }
  return {
    folder,
    unmount: () => {
      // Lazily: a process that ends may hold it for a moment longer.
      execFileSync('umount', ['--lazy', folder], { stdio: 'pipe' });
      rmdirSync(folder);
    },
  };
}

const diskFull = '53100';

/** Fills what is left; resolves with the number of rows that fitted, rejects when it never became full. */
async function fill({ stack }: Chaos): Promise<number> {
  const { sql } = stack;
  for (const batch of [100, 1]) {
    for (let round = 0; round < 5_000; round += 1) {
      const refusal = await sql(
        `insert into public.chaos_filler select repeat(md5(random()::text), 60) from generate_series(1, $1)`,
        [batch],
      ).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (refusal === undefined) continue;
      if ((refusal as { code?: string }).code !== diskFull) throw refusal as Error;
      break;
    }
  }
  const [row] = await sql<{ count: number }>('select count(*)::int as count from public.chaos_filler');
  return row?.count ?? 0;
}
