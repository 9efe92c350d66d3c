import { AppError, redact } from '@steward/service-kit';
import type { Query } from '@steward/postgres';
import { askOperator } from './ask-operator.ts';
import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { readTimeZone, type ConfigOptions } from './load-config.ts';
import { renderTable } from './render-table.ts';
import { toLocalTime } from './to-local-time.ts';
import { toVisible, toVisibleJson } from './to-visible.ts';

export type OutboundListOptions = ConfigOptions & { state: string; environment?: string; json?: boolean };
export type OutboundShowOptions = ConfigOptions & { json?: boolean };
export type ResolveOptions = { happened?: boolean; didNot?: boolean; discard?: boolean; reason: string };

/** An outbound message of the delivery ledger, with what people decided about it. Times are UTC text. */
export type OutboundMessage = {
  id: string;
  status: string;
  reason: string | null;
  environment: string;
  lane: string;
  targetKind: string;
  robotCode: string | null;
  conversationId: string | null;
  staffId: string | null;
  contentKind: string;
  parts: number;
  partsAccepted: number;
  attempts: number;
  lastPath: string | null;
  lastCode: string | null;
  recordedAt: string;
  endedAt: string | null;
  correlationId: string;
  decisions: number;
  lastDecision: string | null;
  decidedBy: string | null;
  decidedAt: string | null;
};
type Attempt = { number: number; part: number; path: string; outcome: string; code: string | null; startedAt: string };

const columns = `outbound_message_id::text as "id", status as "status", reason as "reason", environment as "environment",
  lane as "lane", target_kind as "targetKind", robot_code as "robotCode", conversation_id as "conversationId",
  staff_id as "staffId", content_kind as "contentKind", parts as "parts", parts_accepted as "partsAccepted",
  attempts as "attempts", last_path as "lastPath", last_code as "lastCode", recorded_at as "recordedAt",
  ended_at as "endedAt", correlation_id::text as "correlationId", decisions as "decisions",
  last_decision as "lastDecision", decided_by as "decidedBy", decided_at as "decidedAt"`;
const listed = 200;

/** `outbound list`: messages of the delivery ledger in one state, the oldest first. At most 200. */
export async function listOutbound(context: CliContext, query: Query, options: OutboundListOptions): Promise<ExitCode> {
  const messages = await query<OutboundMessage>(
    `select ${columns} from ops.deliveries
     where status = $1 and ($2::text is null or environment = $2) order by recorded_at limit ${listed}`,
    [options.state, options.environment ?? null],
  );
  if (options.json === true) context.print(JSON.stringify(messages, null, 2));
  else renderMessages(messages, options.state, readTimeZone(context, options)).forEach(context.print);
  return exitCodes.done;
}

/** `outbound show`: one message with its words, its attempts and what was decided. */
export async function showOutbound(
  context: CliContext,
  query: Query,
  id: string,
  options: OutboundShowOptions,
): Promise<ExitCode> {
  const message = await findMessage(query, id);
  const attempts = await query<Attempt>(
    `select number as "number", part as "part", path as "path", outcome as "outcome", code as "code",
       started_at as "startedAt" from ops.delivery_attempts where outbound_message_id = $1 order by number limit 500`,
    [message.id],
  );
  const [row] = await query<{ content: unknown }>(
    'select content from ops.outbound_content where outbound_message_id = $1',
    [message.id],
  );
  const content = redact(row?.content);
  if (options.json === true) context.print(JSON.stringify({ ...message, content, tried: attempts }, null, 2));
  else renderMessage(message, attempts, content, readTimeZone(context, options)).forEach(context.print);
  return exitCodes.done;
}

/**
 * `outbound resolve`: tells outbound-sender what a person knows about a message whose outcome nobody knows. It names how many
 * decisions were seen here, so that a repeat, or somebody who was faster, changes nothing.
 */
export async function resolveOutbound(
  context: CliContext,
  query: Query,
  id: string,
  options: ResolveOptions,
): Promise<ExitCode> {
  const decision = toDecision(options);
  const { id: outboundMessageId, decisions: seen } = await findMessage(query, id);
  const body = { outboundMessageId, decision, reason: options.reason, seen };
  return askOperator(context, query, [{ verb: 'outbound.resolve', body }]);
}

/** Which one of the options was given. Throws DECISION_UNCLEAR for none or several. */
export function toDecision(options: Pick<ResolveOptions, 'happened' | 'didNot' | 'discard'>): string {
  const given = [
    ...(options.happened === true ? ['happened'] : []),
    ...(options.didNot === true ? ['did_not'] : []),
    ...(options.discard === true ? ['discard'] : []),
  ];
  const [only, ...more] = given;
  if (only !== undefined && more.length === 0) return only;
  throw new AppError('DECISION_UNCLEAR', 'say exactly one of what may be decided; --help lists them', {
    retryable: false,
  });
}

export const idPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Rejects with OUTBOUND_UNKNOWN when the ledger has no message of this id. */
async function findMessage(query: Query, id: string): Promise<OutboundMessage> {
  const found = idPattern.test(id)
    ? await query<OutboundMessage>(`select ${columns} from ops.deliveries where outbound_message_id = $1`, [id])
    : [];
  const [message] = found;
  if (message !== undefined) return message;
  throw new AppError(
    'OUTBOUND_UNKNOWN',
    'there is no outbound message of this id; `steward outbound list` shows those that wait for a person',
    { retryable: false },
  );
}

const placeOf = (message: OutboundMessage): string =>
  [message.robotCode, message.conversationId ?? message.staffId].filter((part) => part !== null).join(' ') ||
  message.targetKind;

function renderMessages(messages: readonly OutboundMessage[], state: string, timeZone: string): string[] {
  if (messages.length === 0) return [`no outbound message is ${state}`];
  const titles = ['ID', 'STATUS', 'REASON', 'LANE', 'ENVIRONMENT', 'TO', 'ATTEMPTS', 'DECIDED', 'RECORDED'];
  const rows = messages.map((message) => [
    message.id,
    message.status,
    message.reason,
    message.lane,
    message.environment,
    placeOf(message),
    message.attempts,
    message.lastDecision,
    toLocalTime(message.recordedAt, timeZone),
  ]);
  return renderTable(titles, rows);
}

function renderMessage(
  message: OutboundMessage,
  attempts: readonly Attempt[],
  content: unknown,
  timeZone: string,
): string[] {
  const at = (time: string | null) => toLocalTime(time, timeZone);
  const reason = message.reason === null ? '' : ` (${message.reason})`;
  const decided =
    message.lastDecision === null
      ? '-'
      : `${message.lastDecision} by ${message.decidedBy ?? '-'}, ${at(message.decidedAt)} (decision ${message.decisions})`;
  const lines: [string, string][] = [
    ['message', message.id],
    ['status', `${message.status}${reason}`],
    ['to', `${placeOf(message)} in ${message.environment}, lane ${message.lane}`],
    ['parts', `${message.partsAccepted} of ${message.parts} accepted`],
    ['recorded', at(message.recordedAt)],
    ['ended', at(message.endedAt)],
    ['decided', decided],
    ['correlation id', message.correlationId],
    ...attempts.map((attempt): [string, string] => [
      `attempt ${attempt.number}`,
      `${attempt.outcome}${attempt.code === null ? '' : ` (${attempt.code})`}, part ${attempt.part} by ${attempt.path}, ${at(attempt.startedAt)}`,
    ]),
  ];
  return [
    ...lines.map(([name, text]) => `${name.padEnd(15)} ${toVisible(text)}`),
    '',
    `content ${toVisibleJson(content)}`,
  ];
}
