import { constants, setPriority } from 'node:os';
import { z } from 'zod';
import { createLogger, readEnvironment, runService } from '@steward/service-kit';
import { createPostgres } from '@steward/postgres';
import type { SealerTables } from './database.ts';
import { startAuditSealer } from './start-audit-sealer.ts';

const environmentSchema = z.object({
  DATABASE_URL: z.string().min(1),
  SEAL_KEY: z.string().min(1),
  CHECKPOINT_FOLDER: z.string().default(''),
  SEAL_EVERY_MS: z.coerce.number().int().min(200).max(20_000).default(2_000),
  CHECKPOINT_EVERY_MS: z.coerce.number().int().min(60_000).max(86_400_000).default(3_600_000),
  STEWARD_VERSION: z.string().default('dev'),
  DATABASE_POOL_SIZE: z.coerce.number().int().min(2).max(10).default(3),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

// Whoever writes entries goes first: sealing comes in bursts and may take its time.
setPriority(constants.priority.PRIORITY_BELOW_NORMAL);

await runService({
  name: 'audit-sealer',
  start: async (flags) => {
    const env = readEnvironment(environmentSchema, process.env);
    const log = createLogger({ service: 'audit-sealer', level: env.LOG_LEVEL });
    return startAuditSealer({
      database: createPostgres<SealerTables>({
        url: env.DATABASE_URL,
        schema: 'audit',
        poolSize: env.DATABASE_POOL_SIZE,
        log,
      }),
      sealKey: env.SEAL_KEY,
      checkpointFolder: env.CHECKPOINT_FOLDER === '' ? null : env.CHECKPOINT_FOLDER,
      sealEveryMs: env.SEAL_EVERY_MS,
      checkpointEveryMs: env.CHECKPOINT_EVERY_MS,
      version: env.STEWARD_VERSION,
      log,
      flags,
    });
  },
});
