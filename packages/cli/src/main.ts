import { createCliContext } from './cli-context.ts';
import { runCli } from './create-program.ts';

// Whoever reads the result may stop early: `steward audit export … | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});
process.exitCode = await runCli(createCliContext(), process.argv.slice(2));
