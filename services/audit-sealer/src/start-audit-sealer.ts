import {
  addErrorRoutes,
  createHttpApp,
  createLifecycle,
  createMetrics,
  listen,
  registerSecret,
  type Lifecycle,
  type Logger,
  type Loop,
  type ServeFlags,
} from '@steward/service-kit';
import { readSealKey } from '@steward/audit';
import { assertMigrated, auditStart, type Database } from '@steward/postgres';
import { queryOn, type SealerTables } from './database.ts';
import { createPartitionLoop } from './keep-partitions.ts';
import { createSealLoop } from './seal-loop.ts';
import { createLogWatch } from './watch-log.ts';
import { createCheckpointLoop } from './write-checkpoints.ts';

export type AuditSealerOptions = {
  database: Database<SealerTables>;
  /** The Ed25519 private key, as PEM text. */
  sealKey: string;
  /** Where checkpoints are written, outside the database; null: nowhere. */
  checkpointFolder: string | null;
  version: string;
  log: Logger;
  flags: ServeFlags;
  /** Default 2 s. */
  sealEveryMs?: number;
  /** Default an hour. */
  checkpointEveryMs?: number;
};

const emptyAfterSeconds = 30;

/**
 * Starts the sealer: blocks every few seconds, partitions ahead of time, checkpoints outside the database. Any number may run;
 * one seals at a time. Resolves when it is serving; rejects with SEAL_KEY_INVALID or MIGRATIONS_PENDING.
 */
export async function startAuditSealer(o: AuditSealerOptions): Promise<{ url: string; stop(): Promise<void> }> {
  const { log } = o;
  const { db } = o.database;
  const lifecycle = createLifecycle({ log, graceMs: 10_000 });
  lifecycle.add('database', () => o.database.close());
  try {
    registerSecret(o.sealKey.trim());
    const key = readSealKey(o.sealKey);
    await assertMigrated(db);
    const everyMs = o.sealEveryMs ?? 2_000;
    await auditStart(db, 'audit-sealer', { version: o.version, config: { keyId: key.keyId, everyMs } });
    const metrics = createMetrics('audit-sealer');
    o.database.countInto(metrics);
    const query = queryOn(db);
    const now = () => Date.now();
    const sealing = createSealLoop({ db, key, everyMs, emptyAfterSeconds, log, metrics });
    runLoop(lifecycle, 'partitions', createPartitionLoop({ query, log }));
    runLoop(lifecycle, 'sealing', sealing.loop);
    runLoop(lifecycle, 'watch', createLogWatch({ query, log, metrics }));
    if (o.checkpointFolder !== null) {
      const checkpoints = { folder: o.checkpointFolder, everyMs: o.checkpointEveryMs ?? 3_600_000 };
      runLoop(lifecycle, 'checkpoints', createCheckpointLoop({ query, log, now, ...checkpoints }));
    }
    const readiness = async () => ({ database: await o.database.check(), sealing: await sealing.state() });
    const app = createHttpApp({ log, metrics, readiness });
    addErrorRoutes(app, log);
    const server = await listen(app, o.flags);
    lifecycle.add('http', () => server.close());
    return { url: server.url, stop: () => lifecycle.stop() };
  } catch (error) {
    await lifecycle.stop();
    throw error;
  }
}

function runLoop(lifecycle: Lifecycle, name: string, loop: Loop): void {
  loop.start();
  lifecycle.add(name, () => loop.stop());
}
