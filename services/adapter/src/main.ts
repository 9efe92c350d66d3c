import { z } from 'zod';
import { createLogger, loadStewardConfig, parseSealKeys, readEnvironment, runService } from '@steward/service-kit';
import { createRabbitBus } from '@steward/bus';
import { createPostgres } from '@steward/postgres';
import type { AdapterTables } from './database.ts';
import { startAdapter } from './start-adapter.ts';

const environmentSchema = z.object({
  DATABASE_URL: z.string().min(1),
  AMQP_URL: z.string().min(1),
  REPLY_KEY: z.string().min(1),
  STEWARD_CONFIG: z.string().default('config/steward.yaml'),
  STEWARD_SECRETS_DIR: z.string().default('secrets'),
  STEWARD_VERSION: z.string().default('dev'),
  DOOR_REQUESTS_PER_MINUTE: z.coerce.number().int().min(1).default(6_000),
  DATABASE_POOL_SIZE: z.coerce.number().int().min(2).max(50).default(10),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

await runService({
  name: 'adapter',
  start: async (flags) => {
    const env = readEnvironment(environmentSchema, process.env);
    const log = createLogger({ service: 'adapter', level: env.LOG_LEVEL });
    return startAdapter({
      config: loadStewardConfig({ path: env.STEWARD_CONFIG }),
      secretsDir: env.STEWARD_SECRETS_DIR,
      version: env.STEWARD_VERSION,
      replyKeys: parseSealKeys(env.REPLY_KEY),
      database: createPostgres<AdapterTables>({
        url: env.DATABASE_URL,
        schema: 'adapter',
        poolSize: env.DATABASE_POOL_SIZE,
        log,
      }),
      connectBus: (metrics) => createRabbitBus({ url: env.AMQP_URL, service: 'adapter', log, metrics }),
      requestsPerMinute: env.DOOR_REQUESTS_PER_MINUTE,
      maxLoopDelayMs: 250,
      log,
      flags,
    });
  },
});
