import { createLogger, describeError, readEnvironment } from '@steward/service-kit';
import { z } from 'zod';
import { createPostgres } from './connection.ts';
import { migrate } from './migrate.ts';

/** The one-shot that deployments run before the services: `migrate`, with the owner's DATABASE_URL. */
const log = createLogger({ service: 'migrate' });
try {
  const { DATABASE_URL } = readEnvironment(z.object({ DATABASE_URL: z.string().min(1) }), process.env);
  const database = createPostgres<unknown>({ url: DATABASE_URL, poolSize: 2, log });
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
