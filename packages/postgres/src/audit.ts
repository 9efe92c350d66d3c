import { createHash, randomBytes } from 'node:crypto';
import { sql, type RawBuilder } from 'kysely';
import { newId, redact } from '@steward/service-kit';
import type { Environment } from '@steward/contracts';
import type { DbOrTrx } from './connection.ts';
import { outboxOf } from './outbox.ts';
import type { OutboxTables } from './tables.ts';

/** One decision or fact, as it goes into the audit log. */
export type AuditEntry = {
  /** noun.past-participle, e.g. `turn.ended`. */
  kind: string;
  /** How it came out, in one word. */
  outcome: string;
  correlationId?: string | null;
  environment?: Environment | null;
  robotCode?: string | null;
  conversationId?: string | null;
  /** Who did it; `role` is the one in which they acted. */
  actor?: { staffId: string | null; corpId: string | null; role?: string | null } | null;
  /** How it came in: http, stream, card, cli. */
  door?: string | null;
  subjectId?: string | null;
  /** The digest of the approval request or grant it is about: 64 hex digits. */
  digest?: string | null;
  /** The content hash of the policy set that judged. */
  policyHash?: string | null;
  /** Where a model was involved: its name, and the content hash of the prompt it was given. */
  model?: string | null;
  promptHash?: string | null;
  /** Facts that may stay for ever: ids, counts, codes, hashes. */
  detail?: Record<string, unknown>;
  /** Personal text (arguments, reasons, card text, names). It is kept beside the chain and can be erased later. */
  personal?: Record<string, unknown>;
};

const saltBytes = 32;

/**
 * Adds entries to the audit log, in the transaction of the fact they record. Redacted once more, as logs are. One statement,
 * so that an entry and its personal text are written together even outside a transaction.
 */
export async function appendAudit<T extends OutboxTables>(
  db: DbOrTrx<T>,
  service: string,
  entries: readonly AuditEntry[],
): Promise<void> {
  if (entries.length === 0) return;
  // A service may write audit.entry and not read it: the statement has nothing to say.
  await sql`with ${auditSteps(service, entries)} select`.execute(outboxOf(db));
}

/**
 * The same as the steps (`given`, `kept`, `audited`) of a WITH of the caller's, so that the fact and its entries are one statement. With
 * `onlyIf`, a condition over the caller's own steps and the entry `r`: what it does not hold for is not added.
 */
export function auditSteps(
  service: string,
  entries: readonly AuditEntry[],
  onlyIf: RawBuilder<unknown> = sql`true`,
): RawBuilder<unknown> {
  const rows = JSON.stringify(entries.map((entry) => toRow(service, entry)));
  // The hash is over the text that Postgres makes of the body, since that is what can be read back byte by byte.
  return sql`
    given as materialized (
      select * from jsonb_to_recordset(${rows}::jsonb) as r (
        id uuid, service text, kind text, outcome text, correlation_id uuid, environment text, robot_code text,
        conversation_id text, actor_staff_id text, actor_corp_id text, actor_role text, door text, subject_id text,
        digest text, policy_hash text, model text, prompt_hash text, detail jsonb, salt text, personal jsonb)
      where ${onlyIf}
    ), kept as (
      insert into audit.detail (entry_id, salt, body)
      select id, decode(salt, 'hex'), personal from given where salt is not null
    ), audited as (
      insert into audit.entry (
        id, service, kind, outcome, correlation_id, environment, robot_code, conversation_id, actor_staff_id, actor_corp_id,
        actor_role, door, subject_id, digest, policy_hash, model, prompt_hash, detail, detail_hash)
      select id, service, kind, outcome, correlation_id, environment, robot_code, conversation_id, actor_staff_id, actor_corp_id,
        actor_role, door, subject_id, decode(digest, 'hex'), policy_hash, model, prompt_hash, detail,
        sha256(decode(salt, 'hex') || convert_to(personal::text, 'UTF8'))
      from given
    )`;
}

function toRow(service: string, entry: AuditEntry) {
  return {
    id: newId(),
    service,
    kind: entry.kind,
    outcome: entry.outcome,
    correlation_id: entry.correlationId,
    environment: entry.environment,
    robot_code: entry.robotCode,
    conversation_id: entry.conversationId,
    actor_staff_id: entry.actor?.staffId,
    actor_corp_id: entry.actor?.corpId,
    actor_role: entry.actor?.role,
    door: entry.door,
    subject_id: entry.subjectId,
    digest: entry.digest,
    policy_hash: entry.policyHash,
    model: entry.model,
    prompt_hash: entry.promptHash,
    detail: redact(entry.detail ?? {}),
    // Undefined leaves the keys out: no salt, no detail.
    ...(entry.personal && { salt: randomBytes(saltBytes).toString('hex'), personal: redact(entry.personal) }),
  };
}

/**
 * Audits that a service began to work, with the version and the configuration it works by: every later entry of the
 * service was made under these.
 */
export async function auditStart<T extends OutboxTables>(
  db: DbOrTrx<T>,
  service: string,
  o: { version: string; config: unknown },
): Promise<void> {
  const configHash = createHash('sha256').update(JSON.stringify(o.config)).digest('hex');
  await appendAudit(db, service, [
    { kind: 'service.started', outcome: 'ready', detail: { version: o.version, configHash } },
  ]);
}
