import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import OpenAI from 'openai';
import { AppError, createBreaker, type BreakerOutcome, type StewardConfig } from '@steward/service-kit';
import type { Db } from '@steward/postgres';
import { buildModelPrompt, maxUtteranceLength, type PromptMessage, type Utterance } from './build-model-prompt.ts';
import type { ClaimedTurn } from './claim-turn.ts';
import type { AgentTables } from './database.ts';
import { createBoundedFetch } from './bounded-fetch.ts';
import type { Prompts } from './load-prompts.ts';
import type { ModelStep, OfferedTool, PastStep, SkillSummary } from './model-step.ts';
import { renderClock } from './render-clock.ts';
import { buildSkillTool } from './skill-tool.ts';
import { toModelReply } from './to-model-step.ts';

export type { ModelCall, ModelStep, OfferedTool, PastStep, SkillSummary } from './model-step.ts';

/**
 * Asks for the next step of a turn: one request, one step. `place` is the room or person as configured, `steps` what was
 * committed before with its results, oldest first. The caller commits the step before it looks at a call in it.
 * A step without text and calls says nothing: the caller commits it and asks again.
 * Rejects with MODEL_UNREACHABLE (absent or late), MODEL_UNREADABLE (no chat completion), MODEL_FORBIDDEN, MODEL_REFUSED,
 * BREAKER_OPEN, or MODEL_SILENT (the last allowed step said nothing).
 */
export type AskModel = (o: {
  turn: ClaimedTurn;
  place: string;
  requesterName: string;
  requesterRoles: readonly string[];
  tools: readonly OfferedTool[];
  skills: readonly SkillSummary[];
  steps: readonly PastStep[];
  signal: AbortSignal;
}) => Promise<ModelStep>;

type ModelConfig = NonNullable<StewardConfig['model']>;

/** More tools than this are not offered; servers refuse more than 128. */
const maxOfferedTools = 100;
/** A chat completion is some kilobytes; whatever is larger is not read to its end. */
const maxReplyBytes = 2_097_152;

/**
 * A model behind an OpenAI-compatible chat completions endpoint. Each request has the whole time limit; retries are the
 * turn's, not the client's. On the last allowed step no tools are offered, so that it must answer.
 */
export function createAskModel(o: {
  db: Db<AgentTables>;
  config: ModelConfig;
  apiKey: string;
  prompts: Prompts;
  timeZone: string;
  now: () => Date;
}): AskModel {
  const breaker = createBreaker({ name: 'model' });
  const { name: model, maxSteps, timeoutMs, transcriptTurns } = o.config;
  const client = new OpenAI({
    baseURL: o.config.baseUrl,
    apiKey: o.apiKey,
    maxRetries: 0,
    timeout: timeoutMs,
    fetch: createBoundedFetch({ maxBytes: maxReplyBytes }),
  });

  return async ({ turn, steps, ...asked }) => {
    const stepNumber = steps.length + 1;
    if (stepNumber > maxSteps) throw silent(maxSteps);
    const isLastStep = stepNumber === maxSteps;
    const tools = isLastStep ? [] : offer(asked.tools, asked.skills);
    const { messages, hash } = buildModelPrompt({
      prompt: o.prompts.system,
      fence: randomBytes(9).toString('hex'),
      facts: {
        requester: { name: asked.requesterName, roles: asked.requesterRoles },
        place: asked.place,
        environment: turn.environment,
        clock: renderClock(o.now(), o.timeZone),
        tools: asked.tools.slice(0, maxOfferedTools),
        skills: asked.skills,
        isLastStep,
      },
      transcript: await loadTranscript(o.db, turn, transcriptTurns),
      steps,
    });
    const takenIds = new Set(steps.flatMap(({ step }) => step.calls.map(({ id }) => id)));
    const request = { model, messages, ...(tools.length > 0 ? { tools: tools.map(toFunctionTool) } : {}) };
    const deadline = AbortSignal.any([asked.signal, AbortSignal.timeout(timeoutMs)]);
    const reply = await breaker.run(async () => {
      const completion = await requestCompletion(client, request, deadline);
      const read = toModelReply(completion, { stepNumber, takenIds, mayCall: tools.length > 0 });
      if (read === null) throw unreadable();
      return read;
    }, isFault);
    if (isLastStep && reply.text === '') throw silent(maxSteps);
    return { ...reply, model, promptHash: hash };
  };
}

function offer(tools: readonly OfferedTool[], skills: readonly SkillSummary[]): OfferedTool[] {
  const offered = tools.slice(0, maxOfferedTools);
  return skills.length === 0 ? offered : [...offered, buildSkillTool(skills)];
}

const toFunctionTool = ({ name, description, parameters, judged }: OfferedTool) => ({
  type: 'function' as const,
  function: {
    name,
    description: judged === 'ask' ? `${description} (Runs only after people have approved the call.)` : description,
    parameters,
  },
});

type CompletionRequest = { model: string; messages: PromptMessage[]; tools?: ReturnType<typeof toFunctionTool>[] };

async function requestCompletion(client: OpenAI, request: CompletionRequest, signal: AbortSignal): Promise<unknown> {
  try {
    // No limit of tokens: servers disagree on what it is called and refuse the other name. The reply is cut instead.
    return await client.chat.completions.create(request, { signal });
  } catch (cause) {
    if (!(cause instanceof OpenAI.APIError)) throw unreadable(cause);
    const status = cause.status as number | undefined;
    if (status === undefined) throw unreachable(cause);
    const code = status === 401 || status === 403 ? 'MODEL_FORBIDDEN' : 'MODEL_REFUSED';
    throw new AppError(code, `the model answered with status ${status}`, { retryable: status >= 429, cause });
  }
}

const unreachable = (cause: unknown) =>
  new AppError('MODEL_UNREACHABLE', 'the model did not answer in time', { retryable: true, cause });
const unreadable = (cause?: unknown) =>
  new AppError('MODEL_UNREADABLE', 'what answered at the address of the model is no chat completion', {
    retryable: true,
    cause,
  });
const silent = (maxSteps: number) =>
  new AppError('MODEL_SILENT', `the model gave no answer in ${maxSteps} steps`, { retryable: false });

/** Only an absent, slow or broken model opens the breaker; a request it refuses says nothing about its health. */
function isFault(outcome: BreakerOutcome<unknown>): boolean {
  return 'error' in outcome && outcome.error instanceof AppError && outcome.error.retryable;
}

/**
 * What was said up to this turn, ending with its own question. The robot's own line of this turn ("waiting for …") is what
 * others read while it waits; to the turn itself its steps say more.
 */
async function loadTranscript(db: Db<AgentTables>, turn: ClaimedTurn, turns: number): Promise<Utterance[]> {
  return (
    db
      .selectFrom('transcript')
      .select(['speaker', 'name', sql<string>`left(text, ${maxUtteranceLength + 1})`.as('text')])
      .where('robot_code', '=', turn.robotCode)
      .where('conversation_id', '=', turn.conversationId)
      .where('sequence', '<=', turn.sequence)
      // However short the window, what the person says now is in it.
      .where('sequence', '>', turn.sequence - Math.max(1, turns))
      .where((eb) => eb.not(eb.and([eb('turn_id', '=', turn.id), eb('speaker', '=', 'robot')])))
      .orderBy('sequence')
      .orderBy('speaker')
      .execute()
  );
}
