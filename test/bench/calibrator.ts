// The adapter's own Express app with another recorder behind it, as a yardstick for the real one:
//   BENCH_RECORDER=none   records nothing and answers at once: what the same app costs without I/O
//   BENCH_RECORDER=naive  one transaction with an INSERT and one publisher confirm for each request
import pg from 'pg';
import { z } from 'zod';
import {
  addErrorRoutes,
  createHttpApp,
  createLogger,
  createLoop,
  createLoopDelayGuard,
  createMetrics,
  listen,
  loadStewardConfig,
  parseSealKeys,
  readEnvironment,
  runService,
  type Logger,
  type Loop,
  type Metrics,
} from '@steward/service-kit';
import { createRabbitBus } from '@steward/bus';
import { addHttpDoors } from '../../services/adapter/src/http-doors.ts';
import type { InboundRecorder } from '../../services/adapter/src/record-inbound.ts';
import { loadRobots } from '../../services/adapter/src/robots.ts';

const environmentSchema = z.object({
  BENCH_RECORDER: z.enum(['none', 'naive']),
  DATABASE_URL: z.string(),
  AMQP_URL: z.string(),
  REPLY_KEY: z.string(),
  STEWARD_CONFIG: z.string(),
  STEWARD_SECRETS_DIR: z.string(),
  DOOR_REQUESTS_PER_MINUTE: z.coerce.number(),
});

await runService({
  name: 'calibrator',
  start: async (flags) => {
    const env = readEnvironment(environmentSchema, process.env);
    // The same name as the adapter's: the log line must have the same length.
    const log = createLogger({ service: 'adapter' });
    const metrics = createMetrics('adapter');
    const recorder =
      env.BENCH_RECORDER === 'none' ? createEmptyRecorder() : await createNaiveRecorder(env, log, metrics);
    const loopDelay = createLoopDelayGuard({ maxDelayMs: 250 });
    const readiness = () => Promise.resolve({ recorder: { ok: true } });
    const app = createHttpApp({ log, metrics, readiness });
    addHttpDoors(app, {
      recorder,
      log,
      clickNote: () => '',
      replyKeys: parseSealKeys(env.REPLY_KEY),
      now: () => new Date(),
      robots: loadRobots(loadStewardConfig({ path: env.STEWARD_CONFIG }), env.STEWARD_SECRETS_DIR),
      rejections: { count: () => undefined, loop: createIdleLoop(log) },
      signatures: { note: () => undefined },
      isOverloaded: () => loopDelay.isOverloaded(),
      requestsPerMinute: env.DOOR_REQUESTS_PER_MINUTE,
    });
    addErrorRoutes(app, log);
    const server = await listen(app, flags);
    return { stop: () => server.close() };
  },
});

function createIdleLoop(log: Logger): Loop {
  return createLoop({ name: 'none', idleMs: 60_000, log, run: () => Promise.resolve('idle') });
}

/** A request is answered as soon as it is read. */
function createEmptyRecorder(): InboundRecorder {
  return { pending: () => 0, record: ({ id }) => Promise.resolve({ inboundEventId: id, duplicate: false }) };
}

/** What many write first. It is generous: no audit entry, no number of the conversation, no outbox. */
async function createNaiveRecorder(
  env: z.infer<typeof environmentSchema>,
  log: Logger,
  metrics: Metrics,
): Promise<InboundRecorder> {
  const pool = new pg.Pool({ connectionString: env.DATABASE_URL, max: 10 });
  await pool.query(
    'create table if not exists naive_inbound (robot text, msg_id text, message jsonb not null, primary key (robot, msg_id))',
  );
  const bus = await createRabbitBus({ url: env.AMQP_URL, service: 'adapter', log, metrics });
  return {
    pending: () => 0,
    record: async ({ id, source, sourceId, message }) => {
      const duplicate = await insertOnce(pool, [source, sourceId, JSON.stringify(message)]);
      const [outcome] = message === null ? [] : await bus.publish([message]);
      if (outcome !== 'confirmed') throw new Error(`published: ${outcome ?? 'nothing'}`);
      return { inboundEventId: id, duplicate };
    },
  };
}

/** In a transaction of its own; true when the row was there already. */
async function insertOnce(pool: pg.Pool, row: readonly unknown[]): Promise<boolean> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    const { rowCount } = await client.query(
      'insert into naive_inbound (robot, msg_id, message) values ($1, $2, $3) on conflict do nothing',
      [...row],
    );
    await client.query('commit');
    return rowCount === 0;
  } finally {
    client.release();
  }
}
