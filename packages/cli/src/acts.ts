import type { Query } from '@steward/postgres';
import type { CliContext, ExitCode } from './cli-context.ts';

/** Runs one command with its context, and remembers how it ended. What is heavy is imported inside `work`. */
export type Act = (work: (context: CliContext) => Promise<ExitCode> | ExitCode) => Promise<void>;
/** The same with a connection to the operator's database, closed again whatever happens. */
export type ActOnDatabase = (
  work: (context: CliContext, query: Query) => Promise<ExitCode> | ExitCode,
) => Promise<void>;
export type Acts = { act: Act; actOnDatabase: ActOnDatabase };
