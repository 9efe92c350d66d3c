import { sha256 } from './canonical-json.ts';

/**
 * A row of audit.entry as text, read by `entryColumns`: times in UTC microseconds, numbers of any size and JSON in
 * Postgres's own spelling, bytes in hex, so that no digit is lost on the way.
 */
export type EntryRow = {
  id: string;
  occurredAt: string;
  service: string;
  kind: string;
  outcome: string;
  correlationId: string | null;
  environment: string | null;
  robotCode: string | null;
  conversationId: string | null;
  actorStaffId: string | null;
  actorCorpId: string | null;
  actorRole: string | null;
  door: string | null;
  subjectId: string | null;
  digest: string | null;
  policyHash: string | null;
  model: string | null;
  promptHash: string | null;
  detail: string;
  detailHash: string | null;
  transactionId: string;
  epoch: number;
};

/** The select list that gives EntryRow, of `audit.entry e`. */
export const entryColumns = `
  e.id::text as "id", audit.utc_text(e.occurred_at) as "occurredAt", e.service as "service", e.kind as "kind",
  e.outcome as "outcome", e.correlation_id::text as "correlationId", e.environment as "environment",
  e.robot_code as "robotCode", e.conversation_id as "conversationId", e.actor_staff_id as "actorStaffId",
  e.actor_corp_id as "actorCorpId", e.actor_role as "actorRole", e.door as "door", e.subject_id as "subjectId",
  encode(e.digest, 'hex') as "digest", e.policy_hash as "policyHash", e.model as "model", e.prompt_hash as "promptHash",
  e.detail::text as "detail", encode(e.detail_hash, 'hex') as "detailHash", e.transaction_id::text as "transactionId",
  e.epoch as "epoch"`;

const names = [
  'actorCorpId',
  'actorRole',
  'actorStaffId',
  'conversationId',
  'correlationId',
  'detail',
  'detailHash',
  'digest',
  'door',
  'environment',
  'epoch',
  'id',
  'kind',
  'model',
  'occurredAt',
  'outcome',
  'policyHash',
  'promptHash',
  'robotCode',
  'service',
  'subjectId',
  'transactionId',
] as const satisfies readonly (keyof EntryRow)[];

const keys = names.map((name, at) => `${at === 0 ? '{' : ','}"${name}":`);

/**
 * The one text of an entry: RFC 8785 of exactly its columns. Whatever else an object carries is left out. Spelled by hand,
 * because every entry passes here: the names are in order, and texts and whole numbers are spelled alike in JSON. Pure.
 */
export function canonicalEntry(row: EntryRow): string {
  let text = '';
  for (const [at, name] of names.entries()) text += `${keys[at] ?? ''}${JSON.stringify(row[name])}`;
  return `${text}}`;
}

/** The hash of an entry's canonical text. Pure. */
export const hashEntry = (row: EntryRow): Buffer => sha256(canonicalEntry(row));
