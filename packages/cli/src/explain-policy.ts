import {
  explain,
  loadPolicy,
  toArguments,
  type Explanation,
  type JsonObject,
  type JudgeInput,
} from '@steward/governance';
import type { Lane } from '@steward/contracts';
import { AppError, isAppErrorCode, type StewardConfig } from '@steward/service-kit';
import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { findPerson } from './find-person.ts';
import { findPlace, openWindows, toPrincipal, type JudgedPlace } from './judged-place.ts';
import { loadTools, policyFolder, type PolicyOptions } from './policy-files.ts';
import { renderExplanation } from './render-explanation.ts';

export type ExplainOptions = PolicyOptions & {
  user: string;
  tool: string;
  room?: string;
  robot?: string;
  roles?: string[];
  args?: string[];
  argsJson?: string;
  at?: string;
  audited?: boolean;
  lane: Lane;
  json?: boolean;
};

/** `policy explain`: what a call would come to, which policies decide, and which role would lead further. */
export async function explainPolicy(context: CliContext, options: ExplainOptions): Promise<ExitCode> {
  const { config, tools } = await loadTools(context, options);
  const policy = loadPolicy({ folder: policyFolder(context, options), tools });
  const place = findPlace(config, options);
  const tool = tools.find(({ name }) => name === options.tool);
  const at = toTime(options.at, context.now());
  const input: JudgeInput = {
    principal: findPrincipal(context, config, place, options),
    // A tool that is not there has no effect of its own; what is not declared counts as destructive.
    tool: tool ?? { name: options.tool, effect: 'destructive', repeatable: false, environments: [] },
    arguments: readArguments(tool?.parameters ?? {}, options),
    environment: place.environment,
    robot: place.robot,
    room: place.room,
    lane: options.lane,
    audited: options.audited === true,
    now: at,
    timeZone: config.timeZone,
    calendar: openWindows(config, at),
  };
  const explanation = explain(policy, input);
  tell(context, options, input, explanation);
  return explanation.verdict.verdict === 'deny' ? exitCodes.no : exitCodes.done;
}

function tell({ print }: CliContext, { json }: ExplainOptions, input: JudgeInput, explanation: Explanation): void {
  if (json === true) print(JSON.stringify({ input, ...explanation }, null, 2));
  else renderExplanation(input, explanation).forEach(print);
}

/** Anybody may talk in a room, so somebody who is not configured is judged as a person without roles. */
function findPrincipal(context: CliContext, config: StewardConfig, place: JudgedPlace, options: ExplainOptions) {
  if (config.governance.directory !== undefined) context.warn('roles that DingTalk keeps are not looked up here');
  const roles = options.roles === undefined ? {} : { roles: options.roles };
  try {
    const { staffId } = findPerson(config, options.user, place.corpId);
    return { ...toPrincipal(config, place.corpId, staffId), ...roles };
  } catch (error) {
    if (!isAppErrorCode(error, 'PERSON_UNKNOWN')) throw error;
    context.warn('nobody of that staffId or name is configured: judged as a staffId without roles');
    return { corpId: place.corpId, staffId: options.user, roles: [], ...roles };
  }
}

/** As `/run` reads them. Throws ARGUMENTS_UNREADABLE. */
function readArguments(parameters: JsonObject, { args = [], argsJson }: ExplainOptions): JsonObject {
  const typed = args.map((pair) => /^([^=]+)=([\s\S]*)$/.exec(pair)?.slice(1));
  if (typed.includes(undefined)) throw unreadable('arguments are given as name=value');
  if (argsJson === undefined) return toArguments(parameters, Object.fromEntries(typed as [string, string][]));
  if (args.length > 0) throw unreadable('give --args or --args-json, not both');
  const value = parseJson(argsJson);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw unreadable('--args-json needs a JSON object');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function toTime(given: string | undefined, now: Date): Date {
  const at = given === undefined ? now : new Date(given);
  if (!Number.isNaN(at.getTime())) return at;
  throw unreadable('--at needs a time such as 2026-11-25T10:00:00+08:00');
}

const unreadable = (text: string) => new AppError('ARGUMENTS_UNREADABLE', text, { retryable: false });
