export { startOutboundSender, type OutboundSenderOptions } from './start-outbound-sender.ts';
export type { SenderTables } from './database.ts';
