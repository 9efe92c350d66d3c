import { createLogger, describeError, readEnvironment } from '@steward/service-kit';
import { z } from 'zod';
import { createPostgres } from './connection.ts';
import { migrate } from './migrate.ts';

const environmentSchema = z.object({
  DATABASE_URL: z.string().min(1),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

/** The one-shot that deployments run before the services: `migrate`, with the owner's DATABASE_URL. */
let log = createLogger({ service: 'migrate' });
try {
  const env = readEnvironment(environmentSchema, process.env);
  log = createLogger({ service: 'migrate', level: env.LOG_LEVEL });
  const database = createPostgres<unknown>({ url: env.DATABASE_URL, poolSize: 2, log });
  try {
    await migrate({ db: database.db, log });
  } finally {
    await database.close();
  }
  log.info('migration.finished');
} catch (error) {
  log.error('migration.failed', { error: describeError(error) });
  process.exitCode = 1;
}
