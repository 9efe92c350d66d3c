import { decideDeadLetter, type Db, type OperatorAnswer, type OperatorRequest } from '@steward/postgres';
import type { AdapterTables } from './database.ts';

/** What operators may ask the adapter for at the command line. Idempotent: a request may be worked on twice. */
export function answerOperator(db: Db<AdapterTables>, request: OperatorRequest): Promise<OperatorAnswer> {
  if (request.verb === 'dead.redrive' || request.verb === 'dead.discard')
    return decideDeadLetter({ db, desk: 'adapter' }, request);
  return Promise.resolve({ ok: false, text: 'this version of the adapter does not know that verb' });
}
