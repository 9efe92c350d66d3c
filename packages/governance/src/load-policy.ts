import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { buildPolicy, policyInvalid } from './build-policy.ts';
import type { JudgedTool } from './build-schema.ts';
import type { Policy, PolicyFile } from './policy.ts';

const MAX_FILES = 100;
const MAX_BYTES = 262_144;
const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,80}\.cedar$/;

/**
 * Reads the policy set of a folder: its `*.cedar` files in the order of their names. Throws AppError POLICY_INVALID that
 * lists every fault with file and line; also for a folder without any policy, under which nothing could be called.
 */
export function loadPolicy({ folder, tools }: { folder: string; tools: readonly JudgedTool[] }): Policy {
  return buildPolicy({ files: readPolicyFiles({ folder }), tools });
}

/** The files alone, unchecked. Throws AppError POLICY_INVALID where they cannot be read. */
export function readPolicyFiles({ folder }: { folder: string }): PolicyFile[] {
  const names = orFault(() => readdirSync(folder), 'the policy folder cannot be read').filter(
    (name) => name.endsWith('.cedar') && !name.startsWith('.'),
  );
  const odd = names.filter((name) => !FILE_NAME.test(name));
  if (odd.length > 0) throw policyInvalid(['a policy file has a name with other than letters, digits, dashes']);
  if (names.length > MAX_FILES) throw policyInvalid([`there are more than ${MAX_FILES} policy files`]);
  return names.toSorted().map((name) => ({ name, text: readPolicyFile(folder, name) }));
}

function readPolicyFile(folder: string, name: string): string {
  const file = path.join(folder, name);
  if (orFault(() => statSync(file).size, `${name} cannot be read`) > MAX_BYTES) {
    throw policyInvalid([`${name} is larger than ${MAX_BYTES} bytes`]);
  }
  const bytes = orFault(() => readFileSync(file), `${name} cannot be read`);
  return orFault(
    () => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
    `${name} is not UTF-8`,
  );
}

function orFault<T>(read: () => T, fault: string): T {
  try {
    return read();
  } catch {
    throw policyInvalid([fault]);
  }
}
