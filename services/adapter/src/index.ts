export { startAdapter, type AdapterOptions } from './start-adapter.ts';
export type { AdapterTables } from './database.ts';
