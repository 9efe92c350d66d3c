import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import type { PolicyFile } from '@steward/governance';
import { AppError } from '@steward/service-kit';

const run = promisify(execFile);
const gitMs = 20_000;
const maxBytes = 4 * 1024 * 1024;
const maxFiles = 100;

/**
 * The policy files of a folder as they are at a git revision. Git is started as a program, without a shell, and only told
 * object names and paths of the repository that the folder is in. Rejects with REVISION_UNKNOWN.
 */
export async function readPolicyAt(o: { folder: string; revision: string }): Promise<PolicyFile[]> {
  const git = createGit(path.resolve(o.folder));
  const commit = (await git(['rev-parse', '--verify', '--quiet', '--end-of-options', `${o.revision}^{commit}`])).trim();
  if (!/^[0-9a-f]{40,64}$/.test(commit)) throw unknown();
  const prefix = (await git(['rev-parse', '--show-prefix'])).replace(/\n$/, '');
  const listed = await git(['ls-tree', '-z', '--name-only', '--full-tree', commit, '--', prefix === '' ? '.' : prefix]);
  const paths = listed.split('\0').filter((file) => file.endsWith('.cedar'));
  if (paths.length === 0 || paths.length > maxFiles) throw unknown();
  const files: PolicyFile[] = [];
  for (const file of paths) {
    files.push({ name: path.posix.basename(file), text: await git(['cat-file', 'blob', `${commit}:${file}`]) });
  }
  return files;
}

/** Git with a limit on time and bytes, and without what the environment says about where its repository is. */
function createGit(cwd: string): (args: readonly string[]) => Promise<string> {
  const env = {
    PATH: process.env['PATH'],
    HOME: process.env['HOME'],
    GIT_OPTIONAL_LOCKS: '0',
    GIT_TERMINAL_PROMPT: '0',
  };
  return async (args) => {
    try {
      const { stdout } = await run('git', [...args], {
        cwd,
        env,
        timeout: gitMs,
        maxBuffer: maxBytes,
        encoding: 'utf8',
      });
      return stdout;
    } catch (cause) {
      throw unknown(cause);
    }
  };
}

const unknown = (cause?: unknown) =>
  new AppError(
    'REVISION_UNKNOWN',
    '--against needs a folder of policies, or a git revision at which the policy folder (--policy) has some',
    { retryable: false, cause },
  );
