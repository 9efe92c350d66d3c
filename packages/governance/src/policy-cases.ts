import { environmentSchema, laneSchema } from '@steward/contracts';
import { AppError } from '@steward/service-kit';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { buildPolicy } from './build-policy.ts';
import type { JudgedTool } from './build-schema.ts';
import { judge } from './judge.ts';
import type { Policy, PolicyFile } from './policy.ts';
import type { JudgeInput, Obligations, Verdict } from './verdict.ts';

const MAX_BYTES = 1_048_576;
const MAX_FAULTS = 50;

const toolSchema = z.strictObject({
  effect: z.enum(['read', 'write', 'destructive']).default('destructive'),
  repeatable: z.boolean().default(false),
  environments: z.array(environmentSchema).min(1).max(2).default(['test', 'production']),
  parameters: z.record(z.string(), z.json()).default({ type: 'object', additionalProperties: false }),
});

const givenSchema = z.strictObject({
  corp: z.string(),
  /** Null: the platform does not vouch for the person. */
  person: z.string().nullable(),
  roles: z.array(z.string()).max(50),
  /** Null: a single chat. */
  room: z.string().nullable(),
  robot: z.string(),
  environment: environmentSchema,
  lane: laneSchema,
  tool: z.string(),
  args: z.record(z.string(), z.json()),
  audited: z.boolean(),
  at: z.iso.datetime({ offset: true }),
  timeZone: z.string(),
  calendar: z.array(z.string()).max(50),
});

const verdictWord = z.enum(['allow', 'ask', 'deny']);
const expectSchema = z.strictObject({
  verdict: verdictWord,
  reason: z.string().optional(),
  /** The policies that decide: exactly these. */
  policies: z.array(z.string()).optional(),
  quorum: z.int().optional(),
  approvers: z.array(z.array(z.string())).optional(),
  approveWithinSeconds: z.int().optional(),
  runWithinSeconds: z.int().optional(),
  reasonRequired: z.boolean().optional(),
  selfApproval: z.boolean().optional(),
});

const fileSchema = z.strictObject({
  tools: z.record(z.string(), toolSchema).default({}),
  given: givenSchema.partial().default({}),
  cases: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(200),
        given: givenSchema.partial().default({}),
        expect: z.union([verdictWord.transform((verdict) => ({ verdict })), expectSchema]),
      }),
    )
    .min(1)
    .max(2_000),
});

type CasesFile = z.infer<typeof fileSchema>;
type PolicyCase = CasesFile['cases'][number];

const DEFAULTS: Omit<z.infer<typeof givenSchema>, 'tool'> = {
  corp: 'corp',
  person: 'person',
  roles: [],
  room: 'room',
  robot: 'robot',
  environment: 'production',
  lane: 'answer',
  args: {},
  audited: true,
  at: '2026-01-07T10:00:00+08:00',
  timeZone: 'Asia/Shanghai',
  calendar: [],
};

export type CaseResult = {
  passed: number;
  failed: readonly { name: string; faults: readonly string[] }[];
  policyHash: string;
};

/**
 * Holds a policy set to its cases. The tools of the cases' file stand beside the given ones and go before them, so that a
 * file of cases means the same on every installation. Throws AppError POLICY_CASES_INVALID, and POLICY_INVALID like
 * `buildPolicy`.
 */
export function runPolicyCases(o: {
  files: readonly PolicyFile[];
  tools: readonly JudgedTool[];
  casesText: string;
}): CaseResult {
  const { tools, given, cases } = parseCases(o.casesText);
  const own = Object.entries(tools).map(([name, tool]) => ({ name, ...tool }));
  const others = o.tools.filter(({ name }) => !Object.hasOwn(tools, name));
  const policy = buildPolicy({ files: o.files, tools: [...own, ...others] });
  const failed = cases.flatMap((one) => {
    const faults = runCase(policy, one, given);
    return faults.length === 0 ? [] : [{ name: one.name, faults }];
  });
  return { passed: cases.length - failed.length, failed, policyHash: policy.hash };
}

function runCase(policy: Policy, one: PolicyCase, given: CasesFile['given']): string[] {
  const facts = { ...DEFAULTS, ...given, ...one.given };
  const name = facts.tool;
  if (name === undefined) return ['the case names no tool'];
  const tool = policy.tools.get(name)?.tool ?? {
    name,
    effect: 'destructive',
    repeatable: false,
    environments: [facts.environment],
  };
  const input: JudgeInput = {
    principal: { corpId: facts.corp, staffId: facts.person, roles: facts.roles },
    tool,
    arguments: facts.args,
    environment: facts.environment,
    robot: facts.robot,
    room: facts.room,
    lane: facts.lane,
    audited: facts.audited,
    now: new Date(facts.at),
    timeZone: facts.timeZone,
    calendar: facts.calendar,
  };
  return compare(one.expect, judge(policy, input));
}

function compare(expected: PolicyCase['expect'], { verdict, reason, policyIds, obligations }: Verdict): string[] {
  const actual: Record<string, unknown> = { verdict, reason, policies: policyIds, ...toWords(obligations) };
  return Object.entries<unknown>(expected).flatMap(([name, value]) => {
    const wanted = showSorted(value);
    const found = Object.hasOwn(actual, name) ? showSorted(actual[name]) : 'nothing';
    return value === undefined || wanted === found ? [] : [`${name} is ${found}, expected ${wanted}`];
  });
}

/** Neither the order of policies nor that of approvers means anything. */
function showSorted(value: unknown): string {
  return Array.isArray(value) ? `[${value.map(showSorted).toSorted().join(', ')}]` : String(value);
}

function toWords(obligations: Obligations | null): Record<string, unknown> {
  if (obligations === null) return {};
  const { approverGroups, ...rest } = obligations;
  return { approvers: approverGroups, ...rest };
}

function parseCases(text: string): CasesFile {
  if (Buffer.byteLength(text) > MAX_BYTES) throw casesInvalid([`the file is larger than ${MAX_BYTES} bytes`]);
  const yaml = parseDocument(text, { prettyErrors: false });
  if (yaml.errors.length > 0)
    throw casesInvalid(yaml.errors.map(({ code, pos }) => `not YAML at character ${pos[0]} (${code})`));
  const parsed = fileSchema.safeParse(toPlain(() => yaml.toJS({ maxAliasCount: 100 }) as unknown));
  if (!parsed.success) {
    throw casesInvalid(
      parsed.error.issues.map(({ path, message }) => `${path.map(String).join('.') || 'the file'} - ${message}`),
    );
  }
  return parsed.data;
}

function toPlain(read: () => unknown): unknown {
  try {
    return read();
  } catch {
    throw casesInvalid(['too many YAML aliases']);
  }
}

function casesInvalid(faults: readonly string[]): AppError {
  const shown = faults.slice(0, MAX_FAULTS);
  return new AppError('POLICY_CASES_INVALID', `the policy cases cannot be used:\n  ${shown.join('\n  ')}`, {
    retryable: false,
    details: { faults: shown },
  });
}
