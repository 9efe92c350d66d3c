import { sql } from 'kysely';
import { AppError } from '@steward/service-kit';
import type { ModelCall, ModelStep, PastStep } from './ask-model.ts';
import type { ClaimedTurn } from './claim-turn.ts';
import { findUsableSkills } from './find-missing.ts';
import type { GatedTurn } from './gate/gate-context.ts';
import { offerTools } from './gate/list-tools.ts';
import type { CallRow } from './gate/load-calls.ts';
import type { ProposedCall } from './gate/propose-call.ts';
import { runCalls } from './gate/run-calls.ts';
import { renderForModel, renderWaiting } from './describe-calls.ts';
import type { Skill } from './parse-skill.ts';
import type { TurnContext, TurnOutcome } from './run-turn.ts';
import { listModelSkills, readSkill, skillToolName } from './skill-tool.ts';
import { texts } from './texts.ts';
import { toMarkdown } from './to-markdown.ts';
import { toModelAnswer } from './to-model-answer.ts';

/** The number of steps that a turn can have at all, whatever the configuration allows. */
const maxSteps = 32;

/**
 * Words go to the model, step by step: each reply is committed before any of its calls is judged (note O7), each call goes
 * through the gate, and a step whose calls wait puts the turn aside. When there is no model, or it does not answer in time,
 * that is said instead of silence.
 */
export async function answerWords(context: TurnContext, gated: GatedTurn, signal: AbortSignal): Promise<TurnOutcome> {
  const { askModel, language } = context;
  const { turn } = gated;
  if (askModel === null) return { status: 'done', outcome: 'no_model', answer: toMarkdown(texts.noModel[language]) };
  const ask = await prepare(context, gated, signal);
  const usable = findUsableSkills(context.skills, ask.tools);
  const past: PastStep[] = [];
  for (let number = 1; number <= maxSteps; number += 1) {
    let step = await findStep(context, turn, number);
    if (step === null) {
      const reply = await askModel({ ...ask, steps: past }).catch((error: unknown) =>
        sayAway(context, turn, signal, error),
      );
      if ('status' in reply) return reply;
      step = await recordStep(context, turn, number, reply);
    }
    if (step.calls.length === 0 && step.text !== '') return toAnswer(step);
    const calls = step.calls.filter(({ tool }) => tool !== skillToolName).map((call) => toProposed(call, step));
    const outcome = await runCalls(context, gated, { step: number, calls, signal });
    if (outcome.kind === 'waiting')
      return { status: 'waiting', line: renderWaiting(language, outcome.calls), isHeld: outcome.isHeld };
    past.push({ step, results: step.calls.map((call) => toResult(usable, call, outcome.calls)) });
  }
  throw new AppError('MODEL_SILENT', `the model gave no text in ${maxSteps} steps`, { retryable: false });
}

async function prepare(context: TurnContext, gated: GatedTurn, signal: AbortSignal) {
  const { turn, access, principal } = gated;
  const tools = await offerTools(context, gated);
  return {
    turn,
    place: access.place,
    requesterName: access.person?.name ?? turn.inbound.requester.nick,
    requesterRoles: principal.roles,
    tools,
    skills: listModelSkills(findUsableSkills(context.skills, tools)),
    signal,
  };
}

const toAnswer = ({ text, model, promptHash }: ModelStep): TurnOutcome => ({
  status: 'done',
  outcome: 'model',
  answer: toMarkdown(toModelAnswer(text)),
  model: { name: model, promptHash },
});

function sayAway(context: TurnContext, turn: ClaimedTurn, signal: AbortSignal, error: unknown): TurnOutcome {
  if (signal.aborted || !(error instanceof AppError)) throw error;
  context.log.warn('model.unavailable', { turnId: turn.id, correlationId: turn.correlationId, error });
  return {
    status: 'done',
    outcome: 'model_unavailable',
    answer: toMarkdown(texts.modelAway[context.language]),
    detail: { code: error.code },
  };
}

const toProposed = (call: ModelCall, step: ModelStep): ProposedCall => ({
  modelCallId: call.id,
  tool: call.tool,
  arguments: call.arguments,
  proposedBy: 'model',
  model: { name: step.model, promptHash: step.promptHash },
});

/** Every call has a result, or the next request would be refused: a skill's text, or what the gate's row says. */
function toResult(
  skills: readonly Skill[],
  call: ModelCall,
  rows: readonly CallRow[],
): { callId: string; text: string } {
  if (call.tool === skillToolName) {
    const text = readSkill(skills, call.arguments?.['name']) ?? 'There is no skill of that name.';
    return { callId: call.id, text };
  }
  const row = rows.find(({ modelCallId }) => modelCallId === call.id);
  return { callId: call.id, text: row === undefined ? 'This call was not made.' : renderForModel(row) };
}

async function findStep(context: TurnContext, turn: ClaimedTurn, number: number): Promise<ModelStep | null> {
  const row = await context.db
    .selectFrom('step')
    .select('reply')
    .where('turn_id', '=', turn.id)
    .where('number', '=', number)
    .executeTakeFirst();
  return row?.reply ?? null;
}

/**
 * Commits a step, if the turn is still ours. Whoever was first with this number is right: another process of the same turn
 * goes on with that one. Rejects with TURN_LOST when the turn has gone to another process before anything was committed.
 */
async function recordStep(
  context: TurnContext,
  turn: ClaimedTurn,
  number: number,
  step: ModelStep,
): Promise<ModelStep> {
  const { numAffectedRows } = await sql`
    insert into agent_core.step (turn_id, number, reply)
    select ${turn.id}::uuid, ${number}::int, ${JSON.stringify(step)}::jsonb
    where exists (select from agent_core.turn t
      where t.id = ${turn.id} and t.attempt = ${turn.attempt} and t.status = 'running')
    on conflict (turn_id, number) do nothing`.execute(context.db);
  if (numAffectedRows === 1n) return step;
  const committed = await findStep(context, turn, number);
  if (committed === null) throw new AppError('TURN_LOST', 'another process works on this turn', { retryable: true });
  return committed;
}
