import { sql } from 'kysely';
import { createLoop, newId, type Loop } from '@steward/service-kit';
import type { Trx } from '@steward/postgres';
import type { AgentTables } from './database.ts';
import type { GateContext } from './gate/gate-context.ts';
import { tellOutbound } from './tell-outbound.ts';

const lookEveryMs = 60_000;

/** Says the newest checkpoint of the audit log once a day in the configured room: the room itself becomes a witness. */
export function createCheckpointWatch(context: GateContext): Loop {
  return createLoop({
    name: 'checkpoint',
    idleMs: lookEveryMs,
    log: context.log,
    run: async () => {
      const told = await context.db.transaction().execute((trx) => tellCheckpoint(trx, context));
      if (told) context.onTold();
      return 'idle';
    },
  });
}

/** True if today's checkpoint was said by this call. The day is the room's own, by the configured zone. */
export async function tellCheckpoint(trx: Trx<AgentTables>, context: GateContext): Promise<boolean> {
  const room = [...context.directory.rooms.values()].find(({ name }) => name === context.governance.checkpointRoom);
  const robot = [...context.directory.robots.values()].find(({ name }) => name === room?.robot);
  if (room === undefined || robot === undefined) return false;
  const { rows } = await sql<{ number: string; line: string }>`
    select number::text as number, line from audit.newest_checkpoint()`.execute(trx);
  const [checkpoint] = rows;
  if (checkpoint === undefined) return false;
  const { numAffectedRows } = await sql`
    insert into agent_core.checkpoint_told (day, block_number)
    values ((now() at time zone ${context.timeZone})::date, ${checkpoint.number}::bigint)
    on conflict (day) do nothing`.execute(trx);
  if (numAffectedRows !== 1n) return false;
  const id = newId();
  await tellOutbound(trx, {
    outboundMessageId: id,
    after: null,
    environment: room.environment,
    lane: 'bulk',
    target: { kind: 'group', robotCode: robot.code, conversationId: room.id },
    // Plain text: a checkpoint must be readable, letter by letter, for whoever verifies the log years later.
    content: { kind: 'text', text: checkpoint.line },
    correlationId: id,
    causationId: id,
    now: context.now(),
  });
  return true;
}
