import { statefulIsAuthorized, type Context, type EntityJson } from '@cedar-policy/cedar-wasm/nodejs';
import { toCedarValue, type Shape } from './argument-shape.ts';
import { actionOf, type ActionGroup } from './build-schema.ts';
import { checkArguments } from './check-arguments.ts';
import { combineObligations } from './obligations.ts';
import type { Policy } from './policy.ts';
import type { JudgeInput, Obligations, Verdict, VerdictReason } from './verdict.ts';

/** What one question came to. */
type Answer = { kind: 'permitted' | 'forbidden' | 'no_rule' | 'evaluation_error'; policyIds: readonly string[] };

/**
 * The verdict on a call: a function of the policy set and the input, and of nothing else. `call` permitted is allow, else
 * `callWithApproval` permitted is ask, else deny; a forbid or an evaluation error on either question is deny (note C1).
 * Whatever the policies say, nobody unknown and no tool of the other environment is ever let through.
 */
export function judge(policy: Policy, input: JudgeInput): Verdict {
  const { principal, tool, environment } = input;
  const deny = (reason: VerdictReason, policyIds: readonly string[] = []): Verdict => ({
    verdict: 'deny',
    reason,
    policyHash: policy.hash,
    policyIds,
    obligations: null,
  });
  if (principal.staffId === null || principal.staffId === '') return deny('unknown_person');
  const known = policy.tools.get(tool.name);
  if (known === undefined) return deny('unknown_tool');
  const isHere = tool.environments.includes(environment) && known.tool.environments.includes(environment);
  if (!checkArguments(known.tool.parameters, input.arguments).ok)
    return deny(isHere ? 'invalid_arguments' : 'unknown_tool');

  const [call, withApproval] = ask(policy, input, principal.staffId, known.shape);
  const answers = [call, withApproval];
  const faulty = idsOf(answers, 'evaluation_error');
  const forbidding = idsOf(answers, 'forbidden');
  if (!isHere) return deny('unknown_tool', forbidding);
  if (answers.some(({ kind }) => kind === 'evaluation_error')) return deny('evaluation_error', faulty);
  if (answers.some(({ kind }) => kind === 'forbidden')) return deny('forbidden', forbidding);
  if (call.kind === 'permitted') return { ...deny('permitted', call.policyIds), verdict: 'allow' };
  if (withApproval.kind !== 'permitted') return deny('no_rule');
  const obligations = obligationsOf(policy, withApproval.policyIds);
  // A permit that asks always has obligations; were they missing, nobody could say when it is approved.
  if (obligations === null) return deny('evaluation_error', withApproval.policyIds);
  return { ...deny('needs_approval', withApproval.policyIds), verdict: 'ask', obligations };
}

function obligationsOf({ statements }: Policy, policyIds: readonly string[]): Obligations | null {
  const all = policyIds.map((id) => statements.get(id)?.obligations ?? null);
  return all.includes(null) ? null : combineObligations(all.filter((one) => one !== null));
}

function idsOf(answers: readonly Answer[], kind: Answer['kind']): string[] {
  return [...new Set(answers.flatMap((answer) => (answer.kind === kind ? answer.policyIds : [])))].toSorted();
}

/** Both questions. Whatever goes wrong on the way, an unreadable argument or a fault of the engine, is an evaluation error. */
function ask(policy: Policy, input: JudgeInput, staffId: string, shape: Shape): [Answer, Answer] {
  try {
    const user = userId(input.principal.corpId, staffId);
    const request = { user, entities: toEntities(input, user, staffId), context: toContext(input, shape) };
    return [askOne(policy, 'call', input, request), askOne(policy, 'callWithApproval', input, request)];
  } catch {
    const error: Answer = { kind: 'evaluation_error', policyIds: [] };
    return [error, error];
  }
}

type Request = { user: string; entities: EntityJson[]; context: Context };

function askOne(
  policy: Policy,
  group: ActionGroup,
  { tool }: JudgeInput,
  { user, entities, context }: Request,
): Answer {
  const answer = statefulIsAuthorized({
    principal: uid('User', user),
    action: uid('Action', actionOf(group, tool.name)),
    resource: uid('Tool', tool.name),
    context,
    entities,
    preparsedSchemaName: policy.hash,
    preparsedPolicySetId: policy.hash,
    validateRequest: true,
  });
  if (answer.type === 'failure') return { kind: 'evaluation_error', policyIds: [] };
  const { decision, diagnostics } = answer.response;
  if (diagnostics.errors.length > 0) {
    return { kind: 'evaluation_error', policyIds: diagnostics.errors.map(({ policyId }) => policyId).toSorted() };
  }
  const policyIds = diagnostics.reason.toSorted();
  if (decision === 'allow') return { kind: 'permitted', policyIds };
  return { kind: policyIds.length > 0 ? 'forbidden' : 'no_rule', policyIds };
}

const uid = (type: string, id: string) => ({ type: `Steward::${type}`, id });

/** `<corpId>/<staffId>` as policies name a person. A slash inside either would name somebody else, so it is escaped. */
function userId(corpId: string, staffId: string): string {
  const escape = (part: string) => part.replace(/[%/]/g, encodeURIComponent);
  return `${escape(corpId)}/${escape(staffId)}`;
}

function toEntities(
  { principal, tool, environment, robot, room }: JudgeInput,
  user: string,
  staffId: string,
): EntityJson[] {
  const here = [uid('Environment', environment)];
  return [
    {
      uid: uid('User', user),
      attrs: { corpId: principal.corpId, staffId },
      parents: [...new Set(principal.roles)].map((role) => uid('Role', role)),
    },
    {
      uid: uid('Tool', tool.name),
      attrs: { name: tool.name, effect: tool.effect, repeatable: tool.repeatable },
      parents: [...new Set(tool.environments)].map((name) => uid('Environment', name)),
    },
    { uid: uid('Robot', robot), attrs: {}, parents: here },
    ...(room === null ? [] : [{ uid: uid('Room', room), attrs: {}, parents: here }]),
  ];
}

function toContext(input: JudgeInput, shape: Shape): Context {
  const entity = (type: string, id: string) => ({ __entity: uid(type, id) });
  return {
    environment: entity('Environment', input.environment),
    robot: entity('Robot', input.robot),
    ...(input.room === null ? {} : { room: entity('Room', input.room) }),
    lane: input.lane,
    audited: input.audited,
    time: toLocalTime(input.now, input.timeZone),
    calendar: [...input.calendar],
    arguments: toCedarValue(shape, input.arguments),
  };
}

/** Making a formatter takes longer than a verdict; there are as many as time zones in use, which is one. */
const formatters = new Map<string, Intl.DateTimeFormat>();
const WEEKDAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];

/** What the clock on the wall says there: Monday is 1, the date is a number such as 20261124. */
function toLocalTime(now: Date, timeZone: string): { hour: number; minute: number; weekday: number; date: number } {
  let formatter = formatters.get(timeZone);
  if (formatter === undefined) {
    formatter = new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      weekday: 'short',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
    });
    formatters.set(timeZone, formatter);
  }
  const parts = Object.fromEntries(formatter.formatToParts(now).map(({ type, value }) => [type, value]));
  return {
    hour: Number(parts['hour']),
    minute: Number(parts['minute']),
    weekday: WEEKDAYS.indexOf(parts['weekday'] ?? '') + 1,
    date: Number(`${parts['year'] ?? ''}${parts['month'] ?? ''}${parts['day'] ?? ''}`),
  };
}
