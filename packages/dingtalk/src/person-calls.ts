import { z } from 'zod';
import type { AppCall, RobotApp } from './app-call.ts';
import { requiredId } from './lenient.ts';
import type { SendOutcome, SendRefused } from './send-outcome.ts';

/**
 * What the organisation's directory says about a person. `absent`: nobody of that id, or an account that is not active.
 * `failed` says nothing about the person.
 */
export type PersonLookup =
  | { kind: 'found'; roleIds: string[]; departmentIds: string[] }
  | { kind: 'absent' }
  | { kind: 'failed'; outcome: SendRefused };

export type PersonCalls = {
  /**
   * Asks for the roles of a person and for the departments, with every department above them: so a role given to a
   * department covers what is below it. Two calls, neither counted in the monthly quota.
   */
  lookUpPerson(o: { app: RobotApp; staffId: string }): Promise<PersonLookup>;
};

/** More than any real person has; beyond it an answer is not believed. */
const maxIds = 500;
const id = requiredId(50);
/** The docs' own sample shows one role as an object where real answers have a list. */
const listOf = <T extends z.ZodType>(entry: T) =>
  z
    .union([z.array(entry).max(maxIds), entry.transform((one) => [one])])
    .nullish()
    .transform((list) => list ?? []);

const personSchema = z.object({
  result: z.object({
    active: z.unknown().optional(),
    dept_id_list: listOf(id),
    role_list: listOf(z.object({ id })),
  }),
});
const parentsSchema = z.object({
  result: z.object({ parent_list: listOf(z.object({ parent_dept_id_list: listOf(id) })) }),
});

/** The directory of oapi.dingtalk.com. Official docs, "query user details", "list all parent departments of a user". */
export function createPersonCalls(o: { oapiUrl: string; callAsApp: AppCall; deadlineMs: number }): PersonCalls {
  return {
    lookUpPerson: async ({ app, staffId }) => {
      const signal = AbortSignal.timeout(o.deadlineMs);
      const ask = (path: string, body: Record<string, string>) =>
        o.callAsApp(app, { door: 'directory', tokenIn: 'query', url: `${o.oapiUrl}${path}`, body, signal });
      const person = await ask('/topapi/v2/user/get', { userid: staffId, language: 'zh_CN' });
      if (isAbsent(person.outcome)) return { kind: 'absent' };
      if (person.outcome.kind !== 'accepted') return { kind: 'failed', outcome: person.outcome };
      const known = personSchema.safeParse(person.body).data?.result;
      if (known === undefined) return unreadable();
      // Absent where the app may not read it; text in the docs' own sample.
      if (known.active === false || known.active === 'false') return { kind: 'absent' };
      const above = await ask('/topapi/v2/department/listparentbyuser', { userid: staffId });
      if (above.outcome.kind !== 'accepted') return { kind: 'failed', outcome: above.outcome };
      const parents = parentsSchema.safeParse(above.body).data?.result.parent_list;
      if (parents === undefined) return unreadable();
      const departmentIds = unique([...known.dept_id_list, ...parents.flatMap((row) => row.parent_dept_id_list)]);
      if (departmentIds.length > maxIds) return unreadable();
      return { kind: 'found', roleIds: unique(known.role_list.map((role) => role.id)), departmentIds };
    },
  };
}

/** The codes that say nobody has this id; every other refusal is about us or about the moment. */
function isAbsent(outcome: SendOutcome): boolean {
  return outcome.kind === 'invalid' && ['33012', '40003', '60121'].includes(outcome.code);
}

function unreadable(): PersonLookup {
  const text = 'the answer of the directory cannot be read';
  return { kind: 'failed', outcome: { kind: 'unknown', code: 'UNREADABLE_ANSWER', text } };
}

const unique = (ids: readonly string[]): string[] => [...new Set(ids)];
