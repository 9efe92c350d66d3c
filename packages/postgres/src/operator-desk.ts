import { sql } from 'kysely';
import { createLoop, type Logger, type Loop } from '@steward/service-kit';
import { appendAudit } from './audit.ts';
import type { Db } from './connection.ts';
import type { OutboxTables } from './tables.ts';

/** What an operator asked for at the command line, as the row has it. `asked_by` is a name for the record, no proof. */
export type OperatorRequest = {
  id: string;
  verb: string;
  body: Record<string, unknown>;
  asked_by: string;
  asked_at: Date;
};
export type OperatorAnswer = { ok: boolean; text: string };

/** A service that works on operators' requests, in its own schema. */
export type OperatorDesk = 'adapter' | 'agent-core' | 'outbound-sender';

const lookEveryMs = 500;
/** Other replicas leave a request alone for so long; when whoever took it died, it is answered after this. */
const claimSeconds = 15;

/**
 * Works on what operators asked this service for: `decide` says what comes of a request, its answer is audited as
 * `operator.asked` and written into the row. A request whose process died is decided again, so `decide` must be idempotent.
 * Requests older than 10 minutes are left unanswered: whoever asked has given up.
 */
export function createOperatorDesk<T extends OutboxTables>(o: {
  db: Db<T>;
  desk: OperatorDesk;
  log: Logger;
  decide: (request: OperatorRequest) => Promise<OperatorAnswer>;
  onAnswered: () => void;
}): Loop {
  const table = sql.table(`${o.desk.replace('-', '_')}.operator_request`);
  return createLoop({
    name: 'operator-requests',
    idleMs: lookEveryMs,
    log: o.log,
    run: async () => {
      const { rows } = await sql<OperatorRequest>`
        update ${table} set claimed_until = now() + ${claimSeconds} * interval '1 s'
        where id = (
          select id from ${table}
          where answered_at is null and asked_at > now() - interval '10 minutes'
            and (claimed_until is null or claimed_until < now())
          order by asked_at limit 1 for update skip locked)
        returning id, verb, body, asked_by, asked_at`.execute(o.db);
      const [request] = rows;
      if (request === undefined) return 'idle';
      const answer = await o.decide(request);
      await appendAudit(o.db, o.desk, [
        {
          kind: 'operator.asked',
          outcome: answer.ok ? 'done' : 'refused',
          door: 'cli',
          subjectId: request.id,
          detail: { verb: request.verb, account: request.asked_by },
          personal: { body: request.body, answer: answer.text },
        },
      ]);
      await sql`update ${table} set answered_at = now(), answer = ${JSON.stringify(answer)}::jsonb
        where id = ${request.id} and answered_at is null`.execute(o.db);
      o.log.info('operator.answered', { verb: request.verb, askedBy: request.asked_by, ok: answer.ok });
      o.onAnswered();
      return 'more';
    },
  });
}
