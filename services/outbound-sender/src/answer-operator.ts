import { decideDeadLetter, type Db, type OperatorAnswer, type OperatorRequest } from '@steward/postgres';
import type { SenderTables } from './database.ts';
import { resolveOutbound } from './resolve-outbound.ts';

/** What operators may ask outbound-sender for at the command line. Idempotent: a request may be worked on twice. */
export function answerOperator(
  o: { db: Db<SenderTables>; now: () => Date },
  request: OperatorRequest,
): Promise<OperatorAnswer> {
  if (request.verb === 'outbound.resolve') return resolveOutbound(o, request);
  if (request.verb === 'dead.redrive' || request.verb === 'dead.discard')
    return decideDeadLetter({ db: o.db, desk: 'outbound-sender' }, request);
  return Promise.resolve({ ok: false, text: 'this version of outbound-sender does not know that verb' });
}
