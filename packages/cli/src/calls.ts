import { AppError } from '@steward/service-kit';
import type { Query } from '@steward/postgres';
import { askOperator } from './ask-operator.ts';
import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { readTimeZone, type ConfigOptions } from './load-config.ts';
import { idPattern, toDecision } from './outbound.ts';
import { renderTable } from './render-table.ts';
import { toLocalTime } from './to-local-time.ts';

export type CallListOptions = ConfigOptions & {
  unknown?: boolean;
  days?: number;
  environment?: string;
  json?: boolean;
};
export type CallResolveOptions = { happened?: boolean; didNot?: boolean; reason: string };

type Call = {
  id: string;
  tool: string;
  effect: string | null;
  status: string;
  code: string | null;
  environment: string;
  robotCode: string;
  conversationId: string;
  requesterStaffId: string | null;
  resolution: string | null;
  resolvedBy: string | null;
  proposedAt: string;
  correlationId: string;
};

const listed = 200;
const usualDays = 7;

/** `calls list`: what was called lately, or with `unknown` what waits for a person's word. At most 200. */
export async function listCalls(context: CliContext, query: Query, options: CallListOptions): Promise<ExitCode> {
  const calls = await query<Call>(
    `select c.tool_call_id::text as "id", c.tool as "tool", c.effect as "effect", c.status as "status", c.code as "code",
       c.environment as "environment", c.robot_code as "robotCode", c.conversation_id as "conversationId",
       c.requester_staff_id as "requesterStaffId", c.resolution as "resolution", c.resolved_by as "resolvedBy",
       c.proposed_at as "proposedAt", c.correlation_id::text as "correlationId"
     from ops.tool_calls c
     where ($1::text is null or c.environment = $1)
       and case when $2::boolean
         then c.status = 'unknown' and c.tool_call_id in (select subject_id from ops.unknown where kind = 'tool_call')
         else c.proposed_at > now() - $3::integer * interval '1 day' end
     order by c.proposed_at desc limit ${listed}`,
    [options.environment ?? null, options.unknown === true, options.days ?? usualDays],
  );
  if (options.json === true) context.print(JSON.stringify(calls, null, 2));
  else renderCalls(calls, readTimeZone(context, options)).forEach(context.print);
  return exitCodes.done;
}

/** `calls resolve`: tells agent-core what a person knows about a call whose outcome nobody knows. */
export async function resolveCall(
  context: CliContext,
  query: Query,
  id: string,
  options: CallResolveOptions,
): Promise<ExitCode> {
  const decision = toDecision(options);
  const [call] = idPattern.test(id)
    ? await query<{ id: string }>('select id::text as "id" from agent_core.tool_call where id = $1::uuid', [id])
    : [];
  if (call === undefined)
    throw new AppError('CALL_UNKNOWN', 'there is no call of this id; `steward calls list --unknown` shows what waits', {
      retryable: false,
    });
  const body = { toolCallId: call.id, decision, reason: options.reason };
  return askOperator(context, query, [{ verb: 'calls.resolve', body }]);
}

function renderCalls(calls: readonly Call[], timeZone: string): string[] {
  if (calls.length === 0) return ['there is no such call'];
  const titles = ['ID', 'TOOL', 'EFFECT', 'STATUS', 'CODE', 'ENVIRONMENT', 'ROOM', 'REQUESTER', 'SETTLED', 'PROPOSED'];
  const rows = calls.map((call) => [
    call.id,
    call.tool,
    call.effect,
    call.status,
    call.code,
    call.environment,
    call.conversationId,
    call.requesterStaffId,
    call.resolution,
    toLocalTime(call.proposedAt, timeZone),
  ]);
  return renderTable(titles, rows);
}
