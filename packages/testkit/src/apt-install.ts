import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { lastLines, runCommand } from './run-command.ts';

const policyFile = '/usr/sbin/policy-rc.d';
let last: Promise<unknown> = Promise.resolve();

/**
 * Installs Debian packages as root, without letting them start their services: the tests start their own. Returns
 * undefined when the packages are there, else the refusal. Calls wait for each other, as apt allows only one at a time.
 */
export function installPackages(
  packages: string[],
  say: (line: string) => void,
): Promise<{ refusal: string } | undefined> {
  const mine = last.then(() => install(packages, say));
  last = mine.catch(() => undefined);
  return mine;
}

async function install(packages: string[], say: (line: string) => void): Promise<{ refusal: string } | undefined> {
  if (process.getuid?.() !== 0) return { refusal: 'not root' };
  if (!existsSync('/usr/bin/apt-get')) return { refusal: 'no apt-get on this system' };
  say(`installing ${packages.join(' ')} by apt-get (once)`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (args: string[]) =>
    runCommand('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', ...args], { timeoutMs: 900_000, env });
  const updated = await apt(['update']);
  if (updated.code !== 0) say(`apt-get update complained: ${lastLines(updated.stderr, 2)}`);
  // Exit code 101 means "starting services is forbidden" (invoke-rc.d); a policy that is already there is kept.
  const ownPolicy = !existsSync(policyFile);
  if (ownPolicy) writeFileSync(policyFile, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    const installed = await apt(['install', '-y', '--no-install-recommends', ...packages]);
    return installed.code === 0
      ? undefined
      : { refusal: `apt-get install ${packages.join(' ')} failed: ${lastLines(installed.stderr, 3)}` };
  } finally {
    if (ownPolicy) rmSync(policyFile, { force: true });
  }
}
