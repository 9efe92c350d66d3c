import type { Query } from './query.ts';

/** One call that touched a tool or target. */
export type Touch = {
  at: string;
  tool: string;
  status: string;
  environment: string;
  requester: string | null;
  proposedBy: string;
  approvers: string[];
  arguments: unknown;
  correlationId: string;
};

const listed = 500;

/**
 * Who had a tool called, or something done to a target, newest first: calls of the tool with that very name, and calls whose
 * arguments hold the target as a value. At most 500. `since`: anything that Postgres reads as a time.
 */
export function whoTouched(o: { query: Query; target: string; since: string }): Promise<Touch[]> {
  return o.query<Touch>(
    `select audit.utc_text(c.proposed_at) as "at", c.tool as "tool", c.status as "status", c.environment as "environment",
       c.requester_staff_id as "requester", c.proposed_by as "proposedBy", coalesce(a.voters, '{}') as "approvers",
       c.arguments as "arguments", c.correlation_id::text as "correlationId"
     from ops.tool_calls c left join ops.approvals a on a.tool_call_id = c.tool_call_id
     where c.proposed_at >= $2::timestamptz
       and (c.tool = $1 or jsonb_path_exists(c.arguments, '$.** ? (@ == $target)', jsonb_build_object('target', $1::text)))
     order by c.proposed_at desc limit ${listed}`,
    [o.target, o.since],
  );
}
