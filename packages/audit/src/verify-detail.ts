import type { EntryRow } from './canonical-entry.ts';
import { sha256 } from './canonical-json.ts';
import type { Fault } from './fault.ts';
import type { DetailColumns } from './read-log.ts';

/** `none`: the entry has no detail, and has none recorded. */
export type DetailState = { state: 'none' | 'whole' | 'erased' } | { state: 'bad'; fault: Fault };

/** Whether what lies beside an entry is what was written with it. Pure. */
export function verifyDetail(row: EntryRow & DetailColumns): DetailState {
  if (row.detailHash === null) {
    return row.salt === null
      ? { state: 'none' }
      : bad(row, 'detail_altered', 'has a detail that was not written with it');
  }
  if (row.salt === null) return bad(row, 'detail_missing', 'has lost its detail');
  if (row.body === null)
    return row.erasedBy === null ? bad(row, 'detail_missing', 'has lost its detail') : { state: 'erased' };
  const hash = sha256(Buffer.from(row.salt, 'hex'), row.body).toString('hex');
  return hash === row.detailHash ? { state: 'whole' } : bad(row, 'detail_altered', 'has a detail that was edited');
}

function bad(row: EntryRow, code: Fault['code'], what: string): DetailState {
  return { state: 'bad', fault: { code, entryId: row.id, text: `entry ${row.id} (${row.kind}) ${what}` } };
}
