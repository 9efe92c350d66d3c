import { createHash } from 'node:crypto';
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
  actor?: { staffId: string | null; corpId: string | null } | null;
  subjectId?: string | null;
  detail?: Record<string, unknown>;
};

/** Adds entries to the audit log, in the transaction of the fact they record. Redacted once more, as logs are. */
export async function appendAudit<T extends OutboxTables>(
  db: DbOrTrx<T>,
  service: string,
  entries: readonly AuditEntry[],
): Promise<void> {
  if (entries.length === 0) return;
  await outboxOf(db)
    .insertInto('audit.entry')
    .values(
      entries.map((entry) => ({
        id: newId(),
        service,
        kind: entry.kind,
        outcome: entry.outcome,
        correlation_id: entry.correlationId ?? null,
        environment: entry.environment ?? null,
        robot_code: entry.robotCode ?? null,
        conversation_id: entry.conversationId ?? null,
        actor_staff_id: entry.actor?.staffId ?? null,
        actor_corp_id: entry.actor?.corpId ?? null,
        subject_id: entry.subjectId ?? null,
        detail: JSON.stringify(redact(entry.detail ?? {})),
      })),
    )
    .execute();
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
