import { z } from 'zod';
import { redact } from '@steward/service-kit';
import { builtinDefinitions, builtinLimits, type JsonObject } from '@steward/governance';
import { renderClock } from './render-clock.ts';
import { capOutput } from './render-tool-output.ts';
import type { Tool, ToolCallContext, ToolResult } from './tool.ts';

/** Rows of `ops.room_entries` for one room, newest first. */
export type ReadRoomEntries = (o: {
  robotCode: string;
  conversationId: string;
  since: Date;
  maxRows: number;
}) => Promise<readonly unknown[]>;

const { maxOutputBytes } = builtinDefinitions.query_audit;
const maxDetailLength = 400;

const auditArguments = z.strictObject({
  minutes: z.int().min(1).max(builtinLimits.auditMinutes).default(60),
  rows: z.int().min(1).max(builtinLimits.auditRows).default(20),
});

/** The newest audit entries of the conversation in which it is asked, and of no other. */
export function createQueryAudit(o: { readRoomEntries: ReadRoomEntries; timeZone: string; now: () => Date }): Tool {
  return {
    definition: builtinDefinitions.query_audit,
    run: { kind: 'call', call: (args, context) => loadEntries(o, args, context) },
  };
}

const entry = z.object({
  occurred_at: z.date(),
  service: z.string(),
  kind: z.string(),
  outcome: z.string().nullable(),
  actor_staff_id: z.string().nullable(),
  subject_id: z.string().nullable(),
  correlation_id: z.string().nullable(),
  detail: z.unknown(),
});

async function loadEntries(
  o: { readRoomEntries: ReadRoomEntries; timeZone: string; now: () => Date },
  args: JsonObject,
  context: ToolCallContext,
): Promise<ToolResult> {
  const parsed = auditArguments.safeParse(args);
  if (!parsed.success)
    return { kind: 'failed', code: 'INVALID_ARGUMENTS', text: 'minutes must be 1 to 10080, and rows 1 to 50' };
  const { minutes, rows } = parsed.data;
  const since = new Date(o.now().getTime() - minutes * 60_000);
  const { robotCode, conversationId } = context;
  try {
    const found = await o.readRoomEntries({ robotCode, conversationId, since, maxRows: rows });
    const lines = z
      .array(entry)
      .parse(found)
      .map((row) => renderEntry(row, o.timeZone));
    const output =
      lines.length === 0 ? `nothing was recorded since ${renderClock(since, o.timeZone)}` : lines.join('\n');
    return { kind: 'done', output: capOutput(output, maxOutputBytes) };
  } catch {
    // A read without effect: the database's own trouble is seen elsewhere, and its text may quote rows.
    return { kind: 'failed', code: 'AUDIT_UNREADABLE', text: 'the audit log cannot be read right now' };
  }
}

function renderEntry(row: z.output<typeof entry>, timeZone: string): string {
  const detail = JSON.stringify(redact(row.detail ?? {}));
  return [
    renderClock(row.occurred_at, timeZone),
    row.service,
    row.kind,
    row.outcome ?? '-',
    `by ${row.actor_staff_id ?? '-'}`,
    `about ${row.subject_id ?? '-'}`,
    `correlation ${row.correlation_id ?? '-'}`,
    Array.from(detail).slice(0, maxDetailLength).join(''),
  ].join(' | ');
}
