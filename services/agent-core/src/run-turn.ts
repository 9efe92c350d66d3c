import { AppError, describeError } from '@steward/service-kit';
import type { InboundContent } from '@steward/contracts';
import { answerAboutHere, answerCommand, type CommandFacts } from './answer-command.ts';
import { answerRun, answerSkill } from './answer-run.ts';
import { answerWords } from './answer-words.ts';
import type { AskModel } from './ask-model.ts';
import type { ClaimedTurn } from './claim-turn.ts';
import { judgeFailure } from './cool-down.ts';
import type { TurnResult } from './end-turn.ts';
import { principalOf, type GateContext, type GatedTurn } from './gate/gate-context.ts';
import { judgeAccess, type Access } from './judge-access.ts';
import type { LoadedSkill, SkillProblem } from './load-skills.ts';
import { isKnownCommand, parseInbound } from './parse-command.ts';
import { quoteForMarkdown } from './quote-for-markdown.ts';
import { refuseOnce } from './refuse-once.ts';
import { texts } from './texts.ts';
import { tellQuotaSpent } from './tell-quota-spent.ts';
import { toMarkdown } from './to-markdown.ts';

export type TurnContext = GateContext & {
  /** Null when no model is configured. */
  askModel: AskModel | null;
  facts: CommandFacts;
  skills: readonly LoadedSkill[];
  skillProblems: readonly SkillProblem[];
};

/** How a turn left the hands of this process: ended, or put aside until people or another service have done their part. */
export type TurnOutcome = TurnResult | { status: 'waiting'; line: string; isHeld: boolean };

/** A turn that crashed or failed this often since it was last resumed is given up; the person is told. */
const maxAttempts = 5;

/**
 * One turn from claim to answer. A new, a crashed and a resumed turn enter by this same door. What it returns takes effect in
 * `endTurn`, once, if the turn is still ours; what it does on the way (a judged call, a decision) is written down once and
 * found again by whoever comes next.
 */
export async function runTurn(context: TurnContext, turn: ClaimedTurn, signal: AbortSignal): Promise<TurnOutcome> {
  const tries = turn.attempt - turn.resumedAtAttempt;
  const crashedTooOften = tries > maxAttempts;
  const { content } = turn.inbound;
  if (content.kind === 'quota_notice') return noteQuota(context, turn, content.text);
  const access = judgeAccess(context.directory, turn.inbound);
  // Whoever is not let in hears of no failure either.
  if (access.verdict === 'deny')
    return crashedTooOften ? refuseSilently(access.reason) : refuse(context, turn, access.reason);
  if (crashedTooOften)
    return giveUp(context, turn, new AppError('CRASHED_TOO_OFTEN', 'never came to its end', { retryable: false }));
  try {
    return await answer(context, turn, content, access, signal);
  } catch (error) {
    if (signal.aborted || tries < maxAttempts) throw error;
    return giveUp(context, turn, error);
  }
}

/**
 * The platform keeps messages from us until the month ends: people who run this must know. Whoever wrote is told too, where that
 * costs no call.
 */
async function noteQuota(context: TurnContext, turn: ClaimedTurn, text: string): Promise<TurnResult> {
  const { robotCode, correlationId, inbound } = turn;
  context.log.error('platform.quota.exhausted', { robotCode, correlationId, text });
  const why = { quota: 'messages', correlationId, causationId: inbound.inboundEventId } as const;
  await context.db.transaction().execute((trx) => tellQuotaSpent(trx, context, why));
  const canAnswer = inbound.replyAddress !== null && judgeAccess(context.directory, inbound).verdict === 'allow';
  if (canAnswer) return say('quota_notice', texts.messagesSpent[context.language]);
  return { status: 'done', outcome: 'quota_notice', answer: null };
}

async function answer(
  context: TurnContext,
  turn: ClaimedTurn,
  content: Exclude<InboundContent, { kind: 'quota_notice' }>,
  access: Access & { verdict: 'allow' },
  signal: AbortSignal,
): Promise<TurnOutcome> {
  const { language } = context;
  switch (content.kind) {
    case 'unsupported':
      return say('unsupported', texts.unsupported[language](quoteForMarkdown(content.msgtype)));
    case 'text': {
      const parsed = parseInbound(content);
      const same = parsed.kind === 'command' ? await answerAboutHere(context, { turn, access }, parsed.name) : null;
      if (parsed.kind === 'command' && same !== null) return say(outcomeOf(parsed.name), same);
      const gated: GatedTurn = { turn, access, principal: await principalOf(context, turn) };
      if (parsed.kind === 'command') return answerNamed(context, gated, parsed, signal);
      if (parsed.text === '' && content.attachments === 0)
        return say('command.help', texts.help[language](context.askModel !== null));
      if (parsed.text === '') return say('unsupported', texts.unsupported[language]('picture'));
      const result = await answerWords(context, gated, signal);
      return content.attachments > 0 ? withNote(result, texts.picturesIgnored[language]) : result;
    }
    default:
      return content satisfies never;
  }
}

async function answerNamed(
  context: TurnContext,
  gated: GatedTurn,
  { name, argument }: { name: string; argument: string },
  signal: AbortSignal,
): Promise<TurnOutcome> {
  if (name === 'run') return answerRun(context, gated, argument, signal);
  if (name === 'skill') return answerSkill(context, gated, argument, signal);
  return say(outcomeOf(name), await answerCommand(context, gated, name, argument));
}

/** What a person made up is theirs to say: it is no outcome. */
const outcomeOf = (name: string): string => `command.${isKnownCommand(name) ? name : 'unknown'}`;

/** An unknown room or person gets one polite refusal, audited; after that nothing but audit entries. */
async function refuse(context: TurnContext, turn: ClaimedTurn, reason: DenyReason): Promise<TurnResult> {
  const { conversation, requester } = turn.inbound;
  const speaksHere = reason === 'unknown_room' || reason === 'unknown_person';
  if (!speaksHere || !(await refuseOnce(context.db, turn))) return refuseSilently(reason);
  const text =
    conversation.kind === 'group'
      ? texts.unknownRoom[context.language](quoteForMarkdown(conversation.conversationId))
      : texts.unknownPerson[context.language](
          requester.staffId === null ? texts.none[context.language] : quoteForMarkdown(requester.staffId),
        );
  return { ...say('refused', text), detail: { reason } };
}

type DenyReason = (Access & { verdict: 'deny' })['reason'];

const refuseSilently = (reason: DenyReason): TurnResult => ({
  status: 'done',
  outcome: 'refused_silently',
  answer: null,
  detail: { reason },
});

function giveUp(context: TurnContext, turn: ClaimedTurn, error: unknown): TurnResult {
  const { code } = describeError(error);
  context.log.error('turn.failed', { turnId: turn.id, correlationId: turn.correlationId, code, error });
  const failure = judgeFailure(turn.room, code);
  const { isSaid, untold, coolSeconds } = failure;
  const { turnFailed, sameError, coolDown } = texts;
  const { language } = context;
  const lines = [
    turnFailed[language](turn.correlationId.slice(-8)),
    ...(untold > 0 ? [sameError[language](untold)] : []),
    ...(coolSeconds > 0 ? [coolDown[language](coolSeconds)] : []),
  ];
  const answer = isSaid ? toMarkdown(lines.join('\n\n')) : null;
  return { status: 'failed', outcome: 'failed', answer, failure, detail: { code, isSaid, coolSeconds } };
}

const say = (outcome: string, text: string): TurnResult => ({ status: 'done', outcome, answer: toMarkdown(text) });

const withNote = (result: TurnOutcome, note: string): TurnOutcome =>
  result.status === 'waiting' || result.answer === null
    ? result
    : { ...result, answer: toMarkdown(`${result.answer.text}\n\n${note}`) };
