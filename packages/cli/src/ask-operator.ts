import { z } from 'zod';
import { AppError, newId } from '@steward/service-kit';
import type { Query } from '@steward/postgres';
import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { toVisible } from './to-visible.ts';

const lookEveryMs = 250;
const waitMs = 15_000;

const answerSchema = z.object({ ok: z.boolean(), text: z.string() });

type Asked = { verb: 'approvals.deny' | 'approvals.approve' | 'freeze' | 'unfreeze'; body: Record<string, unknown> };

/**
 * Records what an operator asks agent-core for, all of it at once, and waits for the answers, at most 15 s; prints them.
 * Rejects with OPERATOR_UNANSWERED (retryable): the request stays, and agent-core may still act on it within 10 minutes.
 */
export async function askOperator(
  context: Pick<CliContext, 'print' | 'warn' | 'sleep' | 'account'>,
  query: Query,
  asked: readonly Asked[],
): Promise<ExitCode> {
  const ids: string[] = [];
  for (const { verb, body } of asked) ids.push(await recordRequest(query, verb, body, context.account()));
  let waitedMs = 0;
  let worst: ExitCode = exitCodes.done;
  for (const id of ids) {
    for (;;) {
      const [row] = await query<{ answer: unknown }>(
        'select answer from agent_core.operator_request where id = $1 and answered_at is not null',
        [id],
      );
      if (row !== undefined) {
        if (!tellAnswer(context, row.answer)) worst = exitCodes.no;
        break;
      }
      if (waitedMs >= waitMs) throw unanswered();
      waitedMs += lookEveryMs;
      await context.sleep(lookEveryMs);
    }
  }
  return worst;
}

async function recordRequest(query: Query, verb: string, body: unknown, account: string): Promise<string> {
  const id = newId();
  await query('insert into agent_core.operator_request (id, verb, body, asked_by) values ($1, $2, $3::jsonb, $4)', [
    id,
    verb,
    JSON.stringify(body),
    account,
  ]);
  return id;
}

const unanswered = () =>
  new AppError(
    'OPERATOR_UNANSWERED',
    `agent-core did not answer within ${waitMs / 1_000} s; see whether it is up. It may still act on this within 10 minutes, ` +
      'so look before asking again',
    { retryable: true },
  );

function tellAnswer({ print, warn }: Pick<CliContext, 'print' | 'warn'>, answer: unknown): boolean {
  const parsed = answerSchema.safeParse(answer);
  if (!parsed.success) {
    const text = 'agent-core answered something unreadable: it is of another version';
    throw new AppError('OPERATOR_UNANSWERED', text, { retryable: false });
  }
  const { ok, text } = parsed.data;
  (ok ? print : warn)(toVisible(text, { lines: true }));
  return ok;
}
