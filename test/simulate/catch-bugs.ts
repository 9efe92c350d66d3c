// Plants each bug of test/simulate/bugs into a copy of this tree and plays seeds there until it is caught: `make simulate-bugs`.
// The last line is `N passed, N failed`: a bug that no seed catches is a failure of the simulation.
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { provisionServers } from '@steward/testkit';
import { governedEvery } from './run-seed.ts';

const root = path.resolve(import.meta.dirname, '../..');
const bugsFolder = path.join(import.meta.dirname, 'bugs');
/** Seeds that a bug has before it counts as not caught. */
const mostSeeds = 2_000;
/** From this number on bugs are of approvals, and meet nothing in seeds in which nobody asks for a change. */
const firstOfApprovals = 20;

const patches = readdirSync(bugsFolder)
  .filter((name) => name.endsWith('.patch') && name.includes(process.env['BUG'] ?? ''))
  .sort();
const servers = await provisionServers({ say: (line) => console.log(`  ${line}`) });
let caught = 0;
try {
  for (const patch of patches) {
    const startedAt = performance.now();
    const found = await playWith(patch);
    const seconds = Math.round((performance.now() - startedAt) / 1_000);
    if (found !== null) caught += 1;
    console.log(
      `  ${found === null ? `NOT CAUGHT by ${mostSeeds} seeds` : `caught by seed ${found}`} (${seconds} s)  ${patch}`,
    );
  }
} finally {
  await servers.stop();
}
console.log(`${caught} passed, ${patches.length - caught} failed`);
process.exit(caught === patches.length ? 0 : 1);

/** The first seed that is seen to break a promise with this bug, and how; null: none did. */
async function playWith(patch: string): Promise<string | null> {
  const copy = copyTree();
  try {
    execFileSync('git', ['apply', path.join(bugsFolder, patch)], {
      cwd: copy,
      env: { ...process.env, GIT_CEILING_DIRECTORIES: tmpdir() },
    });
    const every = Number.parseInt(patch, 10) < firstOfApprovals ? 1 : governedEvery;
    const seeds = { SEEDS: String(mostSeeds), SEED: String(every), EVERY: String(every), STOP_AT: '1' };
    const env = { ...process.env, ...servers.env, ...seeds };
    const child = spawn(process.execPath, ['test/simulate/main.ts'], {
      cwd: copy,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (part: Buffer) => (output += part.toString()));
    await new Promise((resolve) => child.once('close', resolve));
    const [, seed, how] = /seed (\d+) \(trace.*\n +(.*)/.exec(output) ?? [];
    return seed === undefined ? null : `${seed}: ${how?.slice(0, 100) ?? ''}`;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** Sources are copied, links to them lead into the copy, and packages from outside are shared. */
function copyTree(): string {
  const copy = mkdtempSync(path.join(tmpdir(), 'steward-bug-'));
  for (const name of ['packages', 'services', 'test', 'config', 'package.json', 'pnpm-workspace.yaml'])
    cpSync(path.join(root, name), path.join(copy, name), { recursive: true, verbatimSymlinks: true });
  const modules = path.join(copy, 'node_modules');
  mkdirSync(modules);
  for (const name of readdirSync(path.join(root, 'node_modules'))) {
    if (name === '.pnpm') symlinkSync(path.join(root, 'node_modules/.pnpm'), path.join(modules, name));
    else
      cpSync(path.join(root, 'node_modules', name), path.join(modules, name), {
        recursive: true,
        verbatimSymlinks: true,
      });
  }
  return copy;
}
