import type { Environment } from '@steward/contracts';
import type { JsonObject, JudgeInput, ToolDefinition } from '@steward/governance';
import type { StewardConfig } from '@steward/service-kit';
import type { Query } from '@steward/postgres';
import { openWindows, toPrincipal } from './judged-place.ts';

/** A call as it was proposed. `createdAt` is UTC text with microseconds. */
export type RecordedCall = {
  id: string;
  createdAt: string;
  tool: string;
  arguments: JsonObject;
  environment: Environment;
  robotCode: string;
  conversationId: string;
  requesterStaffId: string | null;
  requesterCorpId: string | null;
  verdict: string;
};

const pageRows = 500;

/** The calls of the last days, oldest first, page by page. */
export async function* readCalls(query: Query, o: { days: number }): AsyncGenerator<RecordedCall[]> {
  let after: [string, string] = ['-infinity', '00000000-0000-0000-0000-000000000000'];
  for (;;) {
    const page: RecordedCall[] = await query<RecordedCall>(
      `select c.id::text as "id", to_char(c.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "createdAt",
         c.tool as "tool", c.arguments as "arguments", c.environment as "environment", c.robot_code as "robotCode",
         c.conversation_id as "conversationId", c.requester_staff_id as "requesterStaffId",
         c.requester_corp_id as "requesterCorpId", c.verdict as "verdict"
       from agent_core.tool_call c
       where c.created_at > now() - $1::integer * interval '1 day' and (c.created_at, c.id) > ($2::timestamptz, $3::uuid)
       order by c.created_at, c.id limit ${pageRows}`,
      [o.days, ...after],
    );
    if (page.length > 0) yield page;
    const last = page.at(-1);
    if (last === undefined || page.length < pageRows) return;
    after = [last.createdAt, last.id];
  }
}

/**
 * What a policy would look at if the call were made again at its own time, by the configuration of now. Null when its robot is
 * not configured any more. Calls are of the answer lane: the control lane makes none.
 */
export function toInput(
  config: StewardConfig,
  tool: ToolDefinition,
  call: RecordedCall,
): Omit<JudgeInput, 'audited'> | null {
  const robot = config.robots.find(({ code }) => code === call.robotCode);
  if (robot === undefined) return null;
  const room = config.rooms.find(({ id, robot: name }) => id === call.conversationId && name === robot.name);
  const now = new Date(call.createdAt);
  return {
    principal: toPrincipal(config, call.requesterCorpId ?? robot.corpId, call.requesterStaffId),
    tool,
    arguments: call.arguments,
    environment: call.environment,
    robot: robot.name,
    room: room?.name ?? null,
    lane: 'answer',
    now,
    timeZone: config.timeZone,
    calendar: openWindows(config, now),
  };
}
