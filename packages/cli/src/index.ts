export { runCli } from './create-program.ts';
export { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
