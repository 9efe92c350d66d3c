import { createLoop, describeError, type Logger, type Loop, type Metrics } from '@steward/service-kit';
import { sealEntries, type SealKey, type SealOutcome } from '@steward/audit';
import type { Db } from '@steward/postgres';
import { queryOn, transactOn, type SealerTables } from './database.ts';

export type SealLoop = {
  loop: Loop;
  /** Sealing works when the database says that nothing waits for more than a minute, and the last round here did not fail. */
  state(): Promise<{ ok: boolean; detail?: string }>;
};

const workingSeconds = 60;

/** Seals every `everyMs`; a full block is followed by the next one at once. Metrics say how far it is. */
export function createSealLoop(o: {
  db: Db<SealerTables>;
  key: SealKey;
  everyMs: number;
  emptyAfterSeconds: number;
  log: Logger;
  metrics: Metrics;
}): SealLoop {
  const count = createCounting(o.metrics);
  let failure: string | null = null;
  const run = async (): Promise<'more' | 'idle'> => {
    const outcome = await sealEntries({
      transact: transactOn(o.db),
      key: o.key,
      emptyAfterSeconds: o.emptyAfterSeconds,
    }).catch((error: unknown) => {
      failure = describeError(error).code;
      throw error;
    });
    failure = null;
    count(outcome);
    if (outcome.kind === 'overtaken') o.log.warn('audit.overtaken', { keyId: o.key.keyId });
    if (outcome.kind !== 'sealed') return 'idle';
    const { number, kind, epoch, entryCount } = outcome.block;
    o.log.debug('audit.sealed', { number, kind, epoch, entryCount });
    return outcome.more ? 'more' : 'idle';
  };
  const loop = createLoop({ name: 'seal', idleMs: o.everyMs, log: o.log, run });
  return {
    loop,
    state: async () => {
      if (failure !== null) return { ok: false, detail: `the last round failed: ${failure}` };
      return toState(await readSealAge(o.db));
    },
  };
}

async function readSealAge(db: Db<SealerTables>): Promise<number | null> {
  const [row] = await queryOn(db)<{ age: number | null }>('select audit.seconds_since_seal() as "age"');
  return row?.age ?? null;
}

function toState(age: number | null): { ok: boolean; detail?: string } {
  if (age === null) return { ok: false, detail: 'nothing was sealed yet' };
  return age <= workingSeconds ? { ok: true } : { ok: false, detail: `nothing was sealed for ${Math.round(age)} s` };
}

function createCounting(metrics: Metrics): (outcome: SealOutcome) => void {
  const blocks = metrics.counter('steward_audit_blocks_total', 'Blocks sealed by this process');
  const entries = metrics.counter('steward_audit_entries_sealed_total', 'Audit entries sealed by this process');
  const lag = metrics.histogram('steward_audit_seal_lag_seconds', 'Age of the oldest entry of a block when sealed');
  return (outcome) => {
    if (outcome.kind !== 'sealed') return;
    blocks.inc();
    entries.inc(outcome.block.entryCount);
    if (outcome.block.entryCount > 0) lag.observe(Math.max(0, outcome.oldestSeconds));
  };
}
