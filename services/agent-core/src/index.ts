export { startAgentCore, type AgentCoreOptions } from './start-agent-core.ts';
export type { AgentTables } from './database.ts';
