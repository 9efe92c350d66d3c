import {
  policyToJson,
  type ActionConstraint,
  type DetailedError,
  type PolicyJson,
} from '@cedar-policy/cedar-wasm/nodejs';
import { ACTION_GROUPS, actionOf, type ActionGroup } from './build-schema.ts';
import { ASK_ANNOTATIONS, parseObligations } from './obligations.ts';
import type { PolicyStatement } from './policy.ts';
import { lineAt, type PolicyText } from './split-policy-text.ts';

const KNOWN_ANNOTATIONS: readonly string[] = ['id', 'description', ...ASK_ANNOTATIONS];
const ID = /^[A-Za-z0-9_.-]{1,80}$/;
const MAX_DESCRIPTION = 500;

/** A fault and the line of the file it is in. */
export type StatementFault = { line: number; text: string };

export type ReadStatement = { statement: PolicyStatement; roles: readonly string[]; faults: StatementFault[] };

/**
 * Reads one policy and holds it to the rules of the loader (note C2): a permit answers one of the two questions and not both,
 * one that asks says what an approval must fulfil, a forbid means both questions, and no condition looks at the action.
 */
export function readStatement(
  { text, line }: PolicyText,
  o: { file: string; number: number; tools: readonly string[] },
): ReadStatement | { faults: StatementFault[] } {
  const parsed = policyToJson(text);
  if (parsed.type === 'failure') {
    return {
      faults: parsed.errors.map((error) => ({ line: lineOfError(error, { text, line }), text: describeError(error) })),
    };
  }
  const { json } = parsed;
  const annotations = json.annotations ?? {};
  const { description = null, id } = annotations;
  const isAsk = json.effect === 'permit' && coverOf(json.action, o.tools).callWithApproval.size > 0;
  const asked = isAsk ? parseObligations(annotations) : { obligations: null, faults: [] };
  const texts = [...checkAnnotations(annotations, isAsk), ...asked.faults, ...checkScope(json, o.tools)];
  const lead = leadOf(text);
  const firstLine = line + lineAt(text, lead) - 1;
  return {
    statement: {
      id: id ?? `${o.file}#${o.number}`,
      effect: json.effect,
      file: o.file,
      line: firstLine,
      text: text.slice(lead).trimEnd(),
      description,
      obligations: asked.obligations,
    },
    roles: findRoles(json),
    faults: texts.map((fault) => ({ line: firstLine, text: fault })),
  };
}

/** How much of it is blank or comment before the policy itself begins. */
const leadOf = (text: string) => /^(?:\s|\/\/[^\n\r]*)*/.exec(text)?.[0].length ?? 0;

/** The line of an error of Cedar's, whose offsets count the bytes of the policy's own text. */
export function lineOfError({ sourceLocations = [] }: DetailedError, { text, line }: PolicyText): number {
  const start = sourceLocations[0]?.start ?? 0;
  const before = Buffer.from(text, 'utf8').subarray(0, start).toString('utf8');
  return line + lineAt(before, before.length) - 1;
}

/** What Cedar says is wrong, with its advice. */
export function describeError({ message, help }: DetailedError): string {
  return help === null ? message : `${message} (${help})`;
}

function checkAnnotations(annotations: Readonly<Record<string, string>>, isAsk: boolean): string[] {
  const { id, description } = annotations;
  return [
    ...Object.keys(annotations).flatMap((name) => {
      if (!KNOWN_ANNOTATIONS.includes(name)) return [`@${name} is not known`];
      const isMisplaced = !isAsk && (ASK_ANNOTATIONS as readonly string[]).includes(name);
      return isMisplaced ? [`@${name} belongs on a permit of callWithApproval only`] : [];
    }),
    ...(id === undefined || ID.test(id) ? [] : ['@id must be 1-80 letters, digits, dots, dashes']),
    ...((description ?? '').length > MAX_DESCRIPTION ? [`@description is longer than ${MAX_DESCRIPTION}`] : []),
  ];
}

function checkScope({ effect, action, conditions }: PolicyJson, tools: readonly string[]): string[] {
  const { call, callWithApproval } = coverOf(action, tools);
  const lopsided = [EVERY_TOOL, ...tools].filter((tool) => call.has(tool) !== callWithApproval.has(tool));
  return [
    ...(effect === 'permit' && action.op === 'All'
      ? ['a permit must say which question it answers: `action in Steward::Action::"call"` or `"callWithApproval"`']
      : []),
    ...(effect === 'permit' && action.op !== 'All' && call.size > 0 && callWithApproval.size > 0
      ? ['a permit answers one of the two questions: make two of it']
      : []),
    ...(effect === 'forbid' && lopsided.length > 0
      ? [
          `a forbid must cover call and callWithApproval alike; this one does not for ${lopsided.slice(0, 5).join(', ')}`,
        ]
      : []),
    ...(namesGroupByEquals(action) ? ['`action ==` a group matches nothing: write `action in`'] : []),
    ...(conditions.some(({ body }) => mentionsAction(body))
      ? ['a condition must not look at `action`: put it into the head of the policy']
      : []),
  ];
}

/** Stands for whatever tool may come: a group means it, also on an installation without tools. */
const EVERY_TOOL = 'every tool';

/** For which tools the head of a policy matches each question. */
function coverOf(action: ActionConstraint, tools: readonly string[]): Record<ActionGroup, Set<string>> {
  const named = namedActions(action);
  const cover = (group: ActionGroup) => {
    const isGroup = named === null || named.includes(group);
    return new Set(isGroup ? [EVERY_TOOL, ...tools] : tools.filter((tool) => named.includes(actionOf(group, tool))));
  };
  return { call: cover('call'), callWithApproval: cover('callWithApproval') };
}

/** Null for a head that names none and so means every action. Templates never come here. */
function namedActions(action: ActionConstraint): string[] | null {
  if (action.op === 'All') return null;
  const entities = 'entities' in action ? action.entities : 'entity' in action ? [action.entity] : [];
  return entities.map((entity) => ('__entity' in entity ? entity.__entity.id : entity.id));
}

const namesGroupByEquals = (action: ActionConstraint) =>
  action.op === '==' && ACTION_GROUPS.some((group) => namedActions(action)?.includes(group));

/** Every object inside a value that JSON can hold. */
function* objectsIn(value: unknown): Generator<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield value as Record<string, unknown>;
  for (const part of Object.values(value) as unknown[]) yield* objectsIn(part);
}

function mentionsAction(body: unknown): boolean {
  return [...objectsIn(body)].some((part) => part['Var'] === 'action');
}

function findRoles(json: PolicyJson): string[] {
  return [...objectsIn(json)].flatMap(({ type, id }) =>
    type === 'Steward::Role' && typeof id === 'string' ? [id] : [],
  );
}
