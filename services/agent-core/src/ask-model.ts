import { readFileSync } from 'node:fs';
import OpenAI from 'openai';
import { AppError, createBreaker, type StewardConfig } from '@steward/service-kit';
import { maxOutboundTextLength } from '@steward/contracts';
import type { Db } from '@steward/postgres';
import { renderClock } from './answer-command.ts';
import { buildModelPrompt, type PromptMessage, type Utterance } from './build-model-prompt.ts';
import type { ClaimedTurn } from './claim-turn.ts';
import type { AgentTables } from './database.ts';
import { toStorableText } from './to-storable-text.ts';

export type ModelReply = { text: string; model: string; promptHash: string };
/** Answers a turn's words; `place` is the room or person as configured. Rejects with an AppError when the model is away, slow or says nothing. */
export type AskModel = (turn: ClaimedTurn, place: string, signal: AbortSignal) => Promise<ModelReply>;

type ModelConfig = NonNullable<StewardConfig['model']>;

/**
 * Asks an OpenAI-compatible chat completions endpoint. One deadline covers all steps of a turn; retries are the turn's,
 * not the client's. Each reply is committed as a step before it is used, so that a turn that resumes after a
 * crash does not ask (and pay) again.
 */
export function createAskModel(o: {
  db: Db<AgentTables>;
  config: ModelConfig;
  apiKey: string;
  systemPromptPath: string;
  timeZone: string;
  now: () => Date;
}): AskModel {
  const client = new OpenAI({
    baseURL: o.config.baseUrl,
    apiKey: o.apiKey,
    maxRetries: 0,
    timeout: o.config.timeoutMs,
  });
  const breaker = createBreaker({ name: 'model' });
  const systemText = readFileSync(o.systemPromptPath, 'utf8');

  return async (turn, place, signal) => {
    const transcript = await loadTranscript(o.db, turn, o.config.transcriptTurns);
    const clock = renderClock(o.now(), o.timeZone);
    const { messages, hash } = buildModelPrompt({
      systemText,
      place,
      environment: turn.environment,
      clock,
      transcript,
    });
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(o.config.timeoutMs)]);
    for (let step = 1; step <= o.config.maxSteps; step += 1) {
      const text =
        (await findStep(o.db, turn, step)) ??
        (await breaker.run(() => askOnce(client, o.config.name, messages, deadline), isFault));
      await recordStep(o.db, turn, step, text);
      // A reply without text is a step without a result; there are no tools yet that it could have asked for.
      if (text !== '') return { text, model: o.config.name, promptHash: hash };
    }
    throw new AppError('MODEL_SILENT', `the model gave no text in ${o.config.maxSteps} steps`, { retryable: false });
  };
}

async function askOnce(client: OpenAI, model: string, messages: PromptMessage[], signal: AbortSignal): Promise<string> {
  try {
    // No limit of tokens: servers disagree on what it is called and refuse the other name. The reply is cut instead.
    const completion = await client.chat.completions.create({ model, messages }, { signal });
    const text = completion.choices[0]?.message.content ?? '';
    return toStorableText(text.trim().slice(0, maxOutboundTextLength));
  } catch (cause) {
    const status = cause instanceof OpenAI.APIError ? (cause.status as number | undefined) : undefined;
    const code =
      status === undefined
        ? 'MODEL_UNREACHABLE'
        : status === 401 || status === 403
          ? 'MODEL_FORBIDDEN'
          : 'MODEL_REFUSED';
    const text = status === undefined ? 'the model did not answer in time' : `the model answered with status ${status}`;
    throw new AppError(code, text, { retryable: status === undefined || status >= 429, cause });
  }
}

/** Only an absent, slow or broken model opens the breaker; a request it refuses says nothing about its health. */
function isFault(result: { ok: string } | { error: unknown }): boolean {
  return 'error' in result && result.error instanceof AppError && result.error.retryable;
}

async function loadTranscript(db: Db<AgentTables>, turn: ClaimedTurn, turns: number): Promise<Utterance[]> {
  const rows = await db
    .selectFrom('transcript')
    .select(['speaker', 'name', 'text'])
    .where('robot_code', '=', turn.robotCode)
    .where('conversation_id', '=', turn.conversationId)
    .where('sequence', '<=', turn.sequence)
    // However short the window, what the person says now is in it.
    .where('sequence', '>', turn.sequence - Math.max(1, turns))
    .orderBy('sequence')
    .orderBy('speaker')
    .execute();
  return rows;
}

async function findStep(db: Db<AgentTables>, turn: ClaimedTurn, number: number): Promise<string | null> {
  const row = await db
    .selectFrom('step')
    .select('reply')
    .where('turn_id', '=', turn.id)
    .where('number', '=', number)
    .executeTakeFirst();
  return row?.reply.text ?? null;
}

async function recordStep(db: Db<AgentTables>, turn: ClaimedTurn, number: number, text: string): Promise<void> {
  await db
    .insertInto('step')
    .values({ turn_id: turn.id, number, reply: JSON.stringify({ text }) })
    .onConflict((oc) => oc.columns(['turn_id', 'number']).doNothing())
    .execute();
}
