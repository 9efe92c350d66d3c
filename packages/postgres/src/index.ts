export { createPostgres, type Database, type Db, type DbOrTrx, type Trx } from './connection.ts';
export { createEmbedded, serviceRoles, type Embedded, type ServiceRole } from './embedded.ts';
export { assertMigrated, migrate } from './migrate.ts';
export { closeTold, postponeTold, recordOnce, tell, type Told } from './outbox.ts';
export { createRelay, type Publisher } from './relay.ts';
export { appendAudit, auditStart, type AuditEntry } from './audit.ts';
export type { InboxTables, Json, NullableTimestamp, OutboxTables, Timestamp } from './tables.ts';
