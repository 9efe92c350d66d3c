export { startAuditSealer, type AuditSealerOptions } from './start-audit-sealer.ts';
export type { SealerTables } from './database.ts';
