import { AppError, redact } from '@steward/service-kit';
import type { OperatorDesk, Query } from '@steward/postgres';
import { askOperator } from './ask-operator.ts';
import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { readTimeZone, type ConfigOptions } from './load-config.ts';
import { idPattern, showOutbound } from './outbound.ts';
import { renderTable } from './render-table.ts';
import { toLocalTime } from './to-local-time.ts';
import { toVisible, toVisibleJson } from './to-visible.ts';

export type DeadListOptions = ConfigOptions & { all?: boolean; json?: boolean };
export type DeadShowOptions = ConfigOptions & { json?: boolean };
export type DeadDecideOptions = { reason: string };

/** What ended badly: a bus message that died in a queue, or an outbound message that failed. Times are UTC text. */
type Dead = {
  kind: 'bus_message' | 'outbound_message';
  service: OperatorDesk;
  id: string;
  state: string;
  what: string | null;
  queue: string | null;
  code: string | null;
  firstDiedAt: string;
  lastDiedAt: string;
  diedCount: number;
  decisions: number;
  decidedBy: string | null;
  decidedAt: string | null;
  correlationId: string | null;
};

const columns = `kind as "kind", service as "service", id::text as "id", state as "state", what as "what", queue as "queue",
  code as "code", first_died_at as "firstDiedAt", last_died_at as "lastDiedAt", died_count as "diedCount",
  decisions as "decisions", decided_by as "decidedBy", decided_at as "decidedAt", correlation_id as "correlationId"`;
const listed = 200;

/** `dead list`: what waits for a decision, the newest first; with `all` also what was decided. At most 200. */
export async function listDead(context: CliContext, query: Query, options: DeadListOptions): Promise<ExitCode> {
  const dead = await query<Dead>(
    `select ${columns} from ops.dead where $1::boolean or state = 'open' order by last_died_at desc limit ${listed}`,
    [options.all === true],
  );
  if (options.json === true) context.print(JSON.stringify(dead, null, 2));
  else renderAll(dead, readTimeZone(context, options)).forEach(context.print);
  return exitCodes.done;
}

/** `dead show`: one of them with what it holds, without credentials. */
export async function showDead(
  context: CliContext,
  query: Query,
  id: string,
  options: DeadShowOptions,
): Promise<ExitCode> {
  const dead = await findDead(query, id);
  if (dead.kind === 'outbound_message') return showOutbound(context, query, id, options);
  const [row] = await query<{ body: string; bytes: number }>('select body, bytes from ops.dead_content where id = $1', [
    dead.id,
  ]);
  const body = readBody(row?.body ?? '');
  if (options.json === true) context.print(JSON.stringify({ ...dead, bytes: row?.bytes ?? 0, body }, null, 2));
  else renderOne(dead, body, readTimeZone(context, options)).forEach(context.print);
  return exitCodes.done;
}

/**
 * `dead redrive` and `dead discard`: asked of the service whose it is. They name how many decisions were seen here, so that a
 * repeat, or somebody who was faster, changes nothing.
 */
export async function decideDead(
  context: CliContext,
  query: Query,
  o: { id: string; verb: 'redrive' | 'discard' },
  { reason }: DeadDecideOptions,
): Promise<ExitCode> {
  const { id, kind, service, decisions: seen } = await findDead(query, o.id);
  if (kind === 'bus_message')
    return askOperator(context, query, [{ verb: `dead.${o.verb}`, desk: service, body: { id, reason, seen } }]);
  const decision = o.verb === 'redrive' ? 'did_not' : 'discard';
  const body = { outboundMessageId: id, decision, was: 'failed', reason, seen };
  return askOperator(context, query, [{ verb: 'outbound.resolve', body }]);
}

/** Rejects with DEAD_UNKNOWN when nothing dead has this id. */
async function findDead(query: Query, id: string): Promise<Dead> {
  const [dead] = idPattern.test(id)
    ? await query<Dead>(`select ${columns} from ops.dead where id = $1::uuid`, [id])
    : [];
  if (dead !== undefined) return dead;
  throw new AppError('DEAD_UNKNOWN', 'nothing dead has this id; `steward dead list` shows what there is', {
    retryable: false,
  });
}

/** The body as JSON without credentials, or as text where it is none. Bytes come as `\\x…` in hex. */
function readBody(hex: string): unknown {
  const text = Buffer.from(hex.replace(/^\\x/, ''), 'hex').toString('utf8');
  try {
    return redact(JSON.parse(text, (key, value: unknown) => (/^sealed/.test(key) ? '[sealed]' : value)));
  } catch {
    return redact(text);
  }
}

function renderAll(dead: readonly Dead[], timeZone: string): string[] {
  if (dead.length === 0) return ['nothing dead waits for a decision'];
  const titles = ['ID', 'KIND', 'STATE', 'WHAT', 'CODE', 'QUEUE', 'TIMES', 'LAST'];
  const rows = dead.map((one) => [
    one.id,
    one.kind,
    one.state,
    one.what,
    one.code,
    one.queue,
    one.diedCount,
    toLocalTime(one.lastDiedAt, timeZone),
  ]);
  return renderTable(titles, rows);
}

function renderOne(dead: Dead, body: unknown, timeZone: string): string[] {
  const at = (time: string | null) => toLocalTime(time, timeZone);
  const lines: [string, string][] = [
    ['letter', `${dead.id} (${dead.state})`],
    ['type', dead.what ?? '-'],
    ['died', `${dead.diedCount} times in ${dead.queue ?? '-'}: ${dead.code ?? '-'}`],
    ['first, last', `${at(dead.firstDiedAt)}, ${at(dead.lastDiedAt)}`],
    ['decided', dead.decidedBy === null ? '-' : `by ${dead.decidedBy}, ${at(dead.decidedAt)}`],
    ['correlation id', dead.correlationId ?? '-'],
  ];
  return [...lines.map(([name, text]) => `${name.padEnd(15)} ${toVisible(text)}`), '', `body ${toVisibleJson(body)}`];
}
