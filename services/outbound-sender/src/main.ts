import { z } from 'zod';
import { createLogger, loadStewardConfig, parseSealKeys, readEnvironment, runService } from '@steward/service-kit';
import { createRabbitBus } from '@steward/bus';
import { createPostgres } from '@steward/postgres';
import type { SenderTables } from './database.ts';
import { startOutboundSender } from './start-outbound-sender.ts';

const environmentSchema = z.object({
  DATABASE_URL: z.string().min(1),
  AMQP_URL: z.string().min(1),
  REPLY_KEY: z.string().min(1),
  STEWARD_CONFIG: z.string().default('config/steward.yaml'),
  STEWARD_SECRETS_DIR: z.string().default('secrets'),
  STEWARD_VERSION: z.string().default('dev'),
  DATABASE_POOL_SIZE: z.coerce.number().int().min(2).max(50).default(10),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

await runService({
  name: 'outbound-sender',
  start: async (flags) => {
    const env = readEnvironment(environmentSchema, process.env);
    const log = createLogger({ service: 'outbound-sender', level: env.LOG_LEVEL });
    return startOutboundSender({
      config: loadStewardConfig({ path: env.STEWARD_CONFIG }),
      secretsDir: env.STEWARD_SECRETS_DIR,
      version: env.STEWARD_VERSION,
      replyKeys: parseSealKeys(env.REPLY_KEY),
      database: createPostgres<SenderTables>({
        url: env.DATABASE_URL,
        schema: 'outbound_sender',
        poolSize: env.DATABASE_POOL_SIZE,
        log,
      }),
      connectBus: (metrics) => createRabbitBus({ url: env.AMQP_URL, service: 'outbound-sender', log, metrics }),
      log,
      flags,
    });
  },
});
