// Starts throw-away servers for tests and keeps them until Ctrl-C:
//   node packages/testkit/src/servers-main.ts              prints export lines for a shell
//   node packages/testkit/src/servers-main.ts -- COMMAND   runs the command with them and ends with its exit code
import { spawn } from 'node:child_process';
import { provisionServers } from './provision-servers.ts';

const split = process.argv.indexOf('--');
const [command, ...args] = split < 0 ? [] : process.argv.slice(split + 1);
const stopped = new Promise<number>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve(130));
});

try {
  const servers = await provisionServers({ say: (line) => console.error(`# ${line}`) });
  try {
    process.exitCode = command === undefined ? await keepUp(servers.env) : await runWith(servers.env, command, args);
  } finally {
    await servers.stop();
  }
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
process.exit();

async function keepUp(env: Record<string, string>): Promise<number> {
  for (const [name, value] of Object.entries(env)) console.log(`export ${name}='${value}'`);
  console.error('# The servers stay up until Ctrl-C.');
  const keepAlive = setInterval(() => undefined, 60_000);
  await stopped;
  clearInterval(keepAlive);
  return 0;
}

function runWith(env: Record<string, string>, program: string, programArgs: string[]): Promise<number> {
  const child = spawn(program, programArgs, { stdio: 'inherit', env: { ...process.env, ...env } });
  void stopped.then(() => child.kill('SIGTERM'));
  return new Promise((resolve) => {
    child.once('error', (error) => (console.error(error.message), resolve(127)));
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
