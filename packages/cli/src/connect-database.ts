import { existsSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { AppError, readEnvironment } from '@steward/service-kit';
import { connectOperatorPostgres, connectOperatorSocket, type OperatorConnection } from '@steward/postgres';

const environmentSchema = z.object({
  STEWARD_DATABASE_URL: z.string().optional(),
  STEWARD_DATA_DIR: z.string().default('data'),
});

/**
 * The operator's way to the database: STEWARD_DATABASE_URL (or _FILE) where it is set, else the socket of an embedded demo that
 * runs in STEWARD_DATA_DIR. Rejects with OPERATOR_DATABASE_MISSING when there is neither, and OPERATOR_DATABASE_LOST.
 */
export async function connectDatabase(env: Readonly<Record<string, string | undefined>>): Promise<OperatorConnection> {
  const { STEWARD_DATABASE_URL: url, STEWARD_DATA_DIR: folder } = readEnvironment(environmentSchema, env);
  if (url !== undefined) return connectOperatorPostgres(url);
  const socket = path.join(folder, 'steward.sock');
  if (existsSync(socket)) return connectOperatorSocket(socket);
  throw new AppError(
    'OPERATOR_DATABASE_MISSING',
    'set STEWARD_DATABASE_URL or STEWARD_DATABASE_URL_FILE (role steward_operator), or start the demo: ' +
      'its socket would be steward.sock in STEWARD_DATA_DIR (data)',
    { retryable: false },
  );
}
