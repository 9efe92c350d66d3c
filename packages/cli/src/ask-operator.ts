import { z } from 'zod';
import { AppError, newId } from '@steward/service-kit';
import type { OperatorDesk, Query } from '@steward/postgres';
import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { toVisible } from './to-visible.ts';

const lookEveryMs = 250;
const waitMs = 15_000;

const answerSchema = z.object({ ok: z.boolean(), text: z.string() });

/** Which service answers a verb, if the verb says so: a dead letter is decided by the service in whose queue it died. */
const deskOf = {
  'approvals.deny': 'agent-core',
  'approvals.approve': 'agent-core',
  freeze: 'agent-core',
  unfreeze: 'agent-core',
  'calls.resolve': 'agent-core',
  'outbound.resolve': 'outbound-sender',
} as const satisfies Record<string, OperatorDesk>;
/** Each has a table of its own: the operator's role can insert there and do nothing else. */
const tableOf = {
  adapter: 'adapter.operator_request',
  'agent-core': 'agent_core.operator_request',
  'outbound-sender': 'outbound_sender.operator_request',
} as const satisfies Record<OperatorDesk, string>;

type Asked = { body: Record<string, unknown> } & (
  { verb: keyof typeof deskOf } | { verb: 'dead.redrive' | 'dead.discard'; desk: OperatorDesk }
);

/**
 * Records what an operator asks a service for, all of it at once, and waits for the answers, at most 15 s; prints them.
 * Rejects with OPERATOR_UNANSWERED (retryable): the request stays, and the service may still act on it within 10 minutes.
 */
export async function askOperator(
  context: Pick<CliContext, 'print' | 'warn' | 'sleep' | 'account'>,
  query: Query,
  asked: readonly Asked[],
): Promise<ExitCode> {
  const requests: { id: string; desk: OperatorDesk }[] = [];
  for (const one of asked) {
    const { verb, body } = one;
    const desk = 'desk' in one ? one.desk : deskOf[one.verb];
    requests.push({ desk, id: await recordRequest(query, { desk, verb, body, account: context.account() }) });
  }
  let waitedMs = 0;
  let worst: ExitCode = exitCodes.done;
  for (const { id, desk } of requests) {
    for (;;) {
      const [row] = await query<{ answer: unknown }>(
        `select answer from ${tableOf[desk]} where id = $1 and answered_at is not null`,
        [id],
      );
      if (row !== undefined) {
        if (!tellAnswer(context, desk, row.answer)) worst = exitCodes.no;
        break;
      }
      if (waitedMs >= waitMs) throw unanswered(desk);
      waitedMs += lookEveryMs;
      await context.sleep(lookEveryMs);
    }
  }
  return worst;
}

async function recordRequest(
  query: Query,
  o: { desk: OperatorDesk; verb: string; body: unknown; account: string },
): Promise<string> {
  const id = newId();
  await query(`insert into ${tableOf[o.desk]} (id, verb, body, asked_by) values ($1, $2, $3::jsonb, $4)`, [
    id,
    o.verb,
    JSON.stringify(o.body),
    o.account,
  ]);
  return id;
}

const unanswered = (desk: OperatorDesk) =>
  new AppError(
    'OPERATOR_UNANSWERED',
    `${desk} did not answer within ${waitMs / 1_000} s; see whether it is up. It may still act on this within 10 minutes, ` +
      'so look before asking again',
    { retryable: true },
  );

function tellAnswer({ print, warn }: Pick<CliContext, 'print' | 'warn'>, desk: OperatorDesk, answer: unknown): boolean {
  const parsed = answerSchema.safeParse(answer);
  if (!parsed.success) {
    const text = `${desk} answered something unreadable: it is of another version`;
    throw new AppError('OPERATOR_UNANSWERED', text, { retryable: false });
  }
  const { ok, text } = parsed.data;
  (ok ? print : warn)(toVisible(text, { lines: true }));
  return ok;
}
