import path from 'node:path';
import { play } from '../../deploy/demo/src/play.ts';
import { startDemo } from '../../deploy/demo/src/start-demo.ts';

// The embedded demo as a program on any free ports: `node demo-process.ts <folder> [play]`. Its log goes to stdout.
const [folder = '', wish] = process.argv.slice(2);
const root = path.resolve(import.meta.dirname, '../..');
const print = (line: string) => void process.stdout.write(`${line.trimEnd()}\n`);

try {
  const demo = await startDemo({
    folder,
    configPath: path.join(root, 'deploy/demo-stack/steward.yaml'),
    settingsDir: path.join(root, 'config'),
    toolsDir: path.join(root, 'deploy/demo-stack/tools'),
    ports: { adapter: 0, agentCore: 0, outboundSender: 0, auditSealer: 0, simulator: 0 },
    writeLog: print,
  });
  process.once('SIGTERM', () => void demo.stop().then(() => process.exit(0)));
  if (wish === 'play') {
    print(`unanswered: ${await play(demo, print)}`);
    // For whoever reads why a line had no answer: how each was delivered.
    for (const { key, via, outcome, attempts } of await demo.simulator.control.sent()) {
      const tries = attempts.map((attempt) => `${attempt.outcome} ${attempt.status ?? ''} after ${attempt.ms} ms`);
      print(`pushed ${key} by ${via}: ${outcome} (${tries.join(', ')})`);
    }
  }
  print('demo is up');
} catch (error) {
  print(`refused: ${error instanceof Error && 'code' in error ? String(error.code) : String(error)}`);
  process.exitCode = 1;
}
