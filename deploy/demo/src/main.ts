import { createWriteStream, mkdirSync } from 'node:fs';
import path from 'node:path';
import { describeError } from '@steward/service-kit';
import { play } from './play.ts';
import { startDemo } from './start-demo.ts';

/** `make demo`: starts everything, plays a short conversation, stays up until Ctrl-C. */
const root = path.resolve(import.meta.dirname, '../../..');
const folder = path.resolve(process.env.STEWARD_DATA_DIR ?? path.join(root, 'data'));
const print = (line: string) => void process.stdout.write(`${line}\n`);

mkdirSync(folder, { recursive: true, mode: 0o700 });
const logFile = createWriteStream(path.join(folder, 'steward.log'), { flags: 'a' });
const startedAt = performance.now();
try {
  const demo = await startDemo({
    folder,
    configPath: path.join(root, 'deploy/demo-stack/steward.yaml'),
    settingsDir: path.join(root, 'config'),
    toolsDir: path.join(root, 'deploy/demo-stack/tools'),
    ports: { adapter: 8080, agentCore: 8081, outboundSender: 8082, auditSealer: 8083, simulator: 8090 },
    writeLog: (line) => void logFile.write(line.endsWith('\n') ? line : `${line}\n`),
  });
  print(
    `Steward is up after ${((performance.now() - startedAt) / 1_000).toFixed(1)} s: all services in one process, DingTalk played by a simulator.`,
  );
  const unanswered = await play(demo, print);
  print(`
${unanswered === 0 ? 'Every message was answered.' : `${unanswered} messages were NOT answered: see ${path.join(folder, 'steward.log')}`}

  say something     make say TEXT="/tools"         (another terminal)
  operate           bin/steward approvals list · bin/steward audit verify · bin/steward --help
  the log           ${path.relative(process.cwd(), path.join(folder, 'steward.log'))}
  for programs      ${path.relative(process.cwd(), path.join(folder, 'demo.json'))}
  health            curl ${demo.card.adapterUrl}/readyz
  stop              Ctrl-C
`);
  const stop = () => {
    print('Stopping …');
    void demo.stop().then(() => process.exit(unanswered === 0 ? 0 : 1));
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
} catch (error) {
  const { code, text } = describeError(error);
  process.stderr.write(`The demo did not start: ${text} (${code})\n`);
  process.exitCode = 1;
}
