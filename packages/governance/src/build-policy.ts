import { preparsePolicySet, preparseSchema, validate } from '@cedar-policy/cedar-wasm/nodejs';
import { AppError } from '@steward/service-kit';
import { buildSchema, type BuiltSchema, type JudgedTool } from './build-schema.ts';
import { canonicalJson, sha256Hex } from './canonical-json.ts';
import { checkParameterSchema } from './parameter-schema.ts';
import type { Policy, PolicyFile, PolicyStatement } from './policy.ts';
import { describeError, lineOfError, readStatement } from './read-statement.ts';
import { lineAt, splitPolicyText } from './split-policy-text.ts';

const MAX_STATEMENTS = 500;
const MAX_FAULTS = 100;
/** What the audit log keeps of a policy set, `audit.record_policy`. */
const MAX_SOURCE_BYTES = 1_048_576;
const TOOL_NAME = /^[a-z][a-z0-9_]{0,63}$/;
/** Control, direction and zero-width characters: what they make of a line is not what a reader sees. */
const INVISIBLE = /[^\P{C}\n\r\t]/u;

/**
 * Checks a policy set as a whole against these tools and makes it ready to judge with. Throws AppError POLICY_INVALID that
 * lists every fault with file and line; `details.faults` holds the list. Files count in the order of their names.
 */
export function buildPolicy(o: { files: readonly PolicyFile[]; tools: readonly JudgedTool[] }): Policy {
  const files = o.files.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const tools = o.tools.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const { faults: toolFaults } = checkTools(tools);
  if (toolFaults.length > 0) throw policyInvalid(toolFaults);
  const { statements, roles, faults } = readStatements(
    files,
    tools.map(({ name }) => name),
  );
  if (faults.length > 0) throw policyInvalid(faults);
  const built = buildSchema(tools);
  const validated = validateAll(statements, built);
  if (validated.faults.length > 0) throw policyInvalid(validated.faults);
  const source = toSource(files, tools, built);
  if (Buffer.byteLength(source) > MAX_SOURCE_BYTES) {
    throw policyInvalid(['policies and tools together are larger than the audit log can keep (1 MiB)']);
  }
  const hash = sha256Hex(source);
  prepare(hash, statements, built);
  return {
    hash,
    source,
    statements: new Map(statements.map((statement) => [statement.id, statement])),
    tools: new Map(tools.map((tool) => [tool.name, { tool, shape: shapeOf(built, tool.name) }])),
    roles,
    invisibleArguments: built.invisibleArguments,
    warnings: validated.warnings,
  };
}

/** The error of a policy set that cannot be used, with every fault. */
export function policyInvalid(faults: readonly string[]): AppError {
  const shown = faults.slice(0, MAX_FAULTS);
  return new AppError('POLICY_INVALID', `the policy cannot be used:\n  ${shown.join('\n  ')}`, {
    retryable: false,
    details: { faults: shown },
  });
}

function checkTools(tools: readonly JudgedTool[]): { faults: string[] } {
  const names = tools.map(({ name }) => name);
  const faults = tools.flatMap(({ name, parameters }, at) => {
    if (!TOOL_NAME.test(name)) return ['a tool has a name that cannot be one'];
    if (names.indexOf(name) < at) return [`tool ${name} - exists twice`];
    const checked = checkParameterSchema(parameters);
    return checked.ok ? [] : checked.faults.map((fault) => `tool ${name} - parameters: ${fault}`);
  });
  return { faults };
}

function readStatements(files: readonly PolicyFile[], tools: readonly string[]) {
  const faults: string[] = [];
  const statements = new Map<string, PolicyStatement>();
  const roles = new Set<string>();
  for (const { name: file, text } of files) {
    const hidden = INVISIBLE.exec(text);
    if (hidden !== null) faults.push(`${file}:${lineAt(text, hidden.index)} - an invisible character`);
    for (const [at, piece] of splitPolicyText(text).entries()) {
      const read = readStatement(piece, { file, number: at + 1, tools });
      faults.push(...read.faults.map((fault) => `${file}:${fault.line} - ${fault.text}`));
      if (!('statement' in read)) continue;
      const { statement } = read;
      const twin = statements.get(statement.id);
      if (twin !== undefined)
        faults.push(`${file}:${statement.line} - @id is the same as at ${twin.file}:${twin.line}`);
      statements.set(statement.id, statement);
      read.roles.forEach((role) => roles.add(role));
    }
  }
  if (faults.length === 0 && statements.size === 0) faults.push('there is no policy: nothing could ever be called');
  if (statements.size > MAX_STATEMENTS) faults.push(`there are more than ${MAX_STATEMENTS} policies`);
  return { statements: [...statements.values()], roles: [...roles].toSorted(), faults };
}

function toPolicySet(statements: readonly PolicyStatement[]) {
  return { staticPolicies: Object.fromEntries(statements.map(({ id, text }) => [id, text])) };
}

function validateAll(statements: readonly PolicyStatement[], { schema }: BuiltSchema) {
  const answer = validate({ schema, policies: toPolicySet(statements), validationSettings: { mode: 'strict' } });
  if (answer.type === 'failure') return { faults: answer.errors.map(describeError), warnings: [] };
  const byId = new Map(statements.map((statement) => [statement.id, statement]));
  const show = ({ policyId, error }: (typeof answer.validationErrors)[number]) => {
    const statement = byId.get(policyId);
    if (statement === undefined) return describeError(error);
    return `${statement.file}:${lineOfError(error, statement)} - ${describeError(error)}`;
  };
  return { faults: answer.validationErrors.map(show), warnings: answer.validationWarnings.map(show) };
}

/** What is hashed. A changed comment changes the hash too: it names exactly these files, and approvals do not depend on it (note A1). */
function toSource(files: readonly PolicyFile[], tools: readonly JudgedTool[], { schema }: BuiltSchema): string {
  const judged = tools.map(({ name, effect, repeatable, environments }) => ({
    name,
    effect,
    repeatable,
    environments: environments.toSorted(),
  }));
  return canonicalJson({ files: files.map(({ name, text }) => ({ name, text })), schema, tools: judged });
}

/** Parsed once, under the hash: the same content again replaces itself. */
function prepare(hash: string, statements: readonly PolicyStatement[], { schema }: BuiltSchema): void {
  const answers = [preparseSchema(hash, schema), preparsePolicySet(hash, toPolicySet(statements))];
  const faults = answers.flatMap((answer) => (answer.type === 'failure' ? answer.errors.map(describeError) : []));
  if (faults.length > 0) throw policyInvalid(faults);
}

function shapeOf({ shapes }: BuiltSchema, tool: string) {
  return shapes.get(tool) ?? { kind: 'record' as const, fields: new Map() };
}
