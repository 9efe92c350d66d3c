import type { Obligations } from './verdict.ts';

/** Annotations that say what an approval must fulfil. */
export const ASK_ANNOTATIONS = [
  'approvers',
  'quorum',
  'expires',
  'run_within',
  'reason',
  'self_approval',
  'deny_quorum',
] as const;

const MAX_PEOPLE = 20;
const ROLE = /^[a-z0-9-]{1,50}$/;
const APPROVE_WITHIN = { from: 30, to: 7 * 86_400 };
const RUN_WITHIN = { from: 5, to: 86_400 };

/** Reads the annotations of a permit that asks. Every fault is told; obligations only without any. */
export function parseObligations(annotations: Readonly<Record<string, string>>): {
  obligations: Obligations | null;
  faults: string[];
} {
  const faults: string[] = [];
  const read = <T>(name: string, parse: (text: string) => T | null, hint: string, absent?: T): T | null => {
    const given = Object.hasOwn(annotations, name) ? annotations[name] : undefined;
    if (given === undefined && absent !== undefined) return absent;
    const value = given === undefined ? null : parse(given);
    if (value === null) faults.push(given === undefined ? `@${name} is missing` : `@${name} must be ${hint}`);
    return value;
  };
  const people = `a number from 1 to ${MAX_PEOPLE}`;
  const roles = read('approvers', parseRoles, 'role names with commas between them');
  const quorum = read('quorum', parseCount, people);
  const denyQuorum = read('deny_quorum', parseCount, people, 1);
  const expires = read(
    'expires',
    (text) => parseDuration(text, APPROVE_WITHIN),
    'a time such as "15m", from 30s to 168h',
  );
  const runWithin = read(
    'run_within',
    (text) => parseDuration(text, RUN_WITHIN),
    'a time such as "10m", from 5s to 24h',
  );
  const reason = read('reason', (text) => text === 'required' || null, '"required"', false);
  const self = read('self_approval', (text) => text === 'allowed' || null, '"allowed"', false);
  if (
    roles === null ||
    quorum === null ||
    denyQuorum === null ||
    expires === null ||
    runWithin === null ||
    reason === null ||
    self === null
  ) {
    return { obligations: null, faults };
  }
  const obligations: Obligations = {
    approverGroups: [roles],
    quorum,
    denyQuorum,
    approveWithinSeconds: expires,
    runWithinSeconds: runWithin,
    reasonRequired: reason,
    selfApproval: self,
  };
  return { obligations, faults };
}

/** The strictest of all (note C2): whoever satisfies this satisfies each of them. Null for none. */
export function combineObligations(all: readonly Obligations[]): Obligations | null {
  if (all.length === 0) return null;
  const groups = all.flatMap(({ approverGroups }) => approverGroups.map((group) => group.toSorted()));
  const distinct = new Map(groups.map((group) => [group.join(','), group]));
  return {
    approverGroups: [...distinct].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, group]) => group),
    quorum: Math.max(...all.map(({ quorum }) => quorum)),
    denyQuorum: Math.min(...all.map(({ denyQuorum }) => denyQuorum)),
    approveWithinSeconds: Math.min(...all.map(({ approveWithinSeconds }) => approveWithinSeconds)),
    runWithinSeconds: Math.min(...all.map(({ runWithinSeconds }) => runWithinSeconds)),
    reasonRequired: all.some(({ reasonRequired }) => reasonRequired),
    selfApproval: all.every(({ selfApproval }) => selfApproval),
  };
}

function parseRoles(text: string): string[] | null {
  const roles = text.split(',').map((role) => role.trim());
  const fit = roles.every((role) => ROLE.test(role)) && new Set(roles).size === roles.length;
  return fit && roles.length <= MAX_PEOPLE ? roles.toSorted() : null;
}

function parseCount(text: string): number | null {
  const count = /^[1-9]\d?$/.test(text) ? Number(text) : 0;
  return count >= 1 && count <= MAX_PEOPLE ? count : null;
}

function parseDuration(text: string, limit: { from: number; to: number }): number | null {
  const [, count = '', unit = ''] = /^([1-9]\d{0,5})(s|m|h)$/.exec(text) ?? [];
  const seconds = Number(count) * ({ s: 1, m: 60, h: 3_600 }[unit] ?? 0);
  return seconds >= limit.from && seconds <= limit.to ? seconds : null;
}
