import { z } from 'zod';
import { createLogger, loadStewardConfig, readEnvironment, runService } from '@steward/service-kit';
import { createRabbitBus } from '@steward/bus';
import { createPostgres } from '@steward/postgres';
import { leaseSeconds } from './claim-turn.ts';
import type { AgentTables } from './database.ts';
import { startAgentCore } from './start-agent-core.ts';

const environmentSchema = z.object({
  DATABASE_URL: z.string().min(1),
  AMQP_URL: z.string().min(1),
  STEWARD_CONFIG: z.string().default('config/steward.yaml'),
  STEWARD_SECRETS_DIR: z.string().default('secrets'),
  STEWARD_PROMPTS_DIR: z.string().default('config/prompts'),
  STEWARD_POLICY_DIR: z.string().default('config/policy'),
  STEWARD_TOOLS_DIR: z.string().default('config/tools'),
  STEWARD_SKILLS_DIR: z.string().default('config/skills'),
  STEWARD_VERSION: z.string().default('dev'),
  DATABASE_POOL_SIZE: z.coerce.number().int().min(2).max(50).default(10),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

await runService({
  name: 'agent-core',
  start: async (flags) => {
    const env = readEnvironment(environmentSchema, process.env);
    const log = createLogger({ service: 'agent-core', level: env.LOG_LEVEL });
    return startAgentCore({
      config: loadStewardConfig({ path: env.STEWARD_CONFIG }),
      secretsDir: env.STEWARD_SECRETS_DIR,
      promptsDir: env.STEWARD_PROMPTS_DIR,
      policyDir: env.STEWARD_POLICY_DIR,
      toolsDir: env.STEWARD_TOOLS_DIR,
      skillsDir: env.STEWARD_SKILLS_DIR,
      version: env.STEWARD_VERSION,
      database: createPostgres<AgentTables>({
        url: env.DATABASE_URL,
        schema: 'agent_core',
        poolSize: env.DATABASE_POOL_SIZE,
        // A process that is paused inside a transaction would hold the row of a turn that others wait to take over.
        idleInTransactionMs: leaseSeconds * 1_000,
        log,
      }),
      connectBus: (metrics) => createRabbitBus({ url: env.AMQP_URL, service: 'agent-core', log, metrics }),
      log,
      flags,
    });
  },
});
