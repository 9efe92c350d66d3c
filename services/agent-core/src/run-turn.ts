import { AppError, describeError, type Logger } from '@steward/service-kit';
import { maxOutboundTextLength, type InboundContent, type OutboundContent } from '@steward/contracts';
import type { Db } from '@steward/postgres';
import { answerCommand, type CommandFacts } from './answer-command.ts';
import type { AskModel } from './ask-model.ts';
import type { ClaimedTurn } from './claim-turn.ts';
import type { AgentTables } from './database.ts';
import type { TurnResult } from './end-turn.ts';
import { judgeAccess, type Access, type Directory } from './judge-access.ts';
import { isKnownCommand, parseCommand } from './parse-command.ts';
import { quoteForMarkdown } from './quote-for-markdown.ts';
import { refuseOnce } from './refuse-once.ts';
import { texts, type Language } from './texts.ts';
import { toStorableText } from './to-storable-text.ts';

export type TurnContext = {
  db: Db<AgentTables>;
  log: Logger;
  directory: Directory;
  language: Language;
  /** Null when no model is configured. */
  askModel: AskModel | null;
  facts: CommandFacts;
};

/** A turn that crashed or failed this often is given up; the person is told. */
const maxAttempts = 5;

/**
 * One turn from claim to answer. A new, a crashed and a resumed turn enter by this same door. It decides and asks, but
 * writes nothing that counts: whatever it returns takes effect in `endTurn`, once, if the turn is still ours.
 */
export async function runTurn(context: TurnContext, turn: ClaimedTurn, signal: AbortSignal): Promise<TurnResult> {
  const crashedTooOften = turn.attempt > maxAttempts;
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
    if (signal.aborted || turn.attempt < maxAttempts) throw error;
    return giveUp(context, turn, error);
  }
}

/** The platform cut us off for the month: people who run this must know, and there is nobody to answer. */
function noteQuota(context: TurnContext, turn: ClaimedTurn, text: string): TurnResult {
  context.log.error('platform.quota.exhausted', {
    robotCode: turn.robotCode,
    correlationId: turn.correlationId,
    text,
  });
  return { status: 'done', outcome: 'quota_notice', answer: null };
}

async function answer(
  context: TurnContext,
  turn: ClaimedTurn,
  content: Exclude<InboundContent, { kind: 'quota_notice' }>,
  access: Access & { verdict: 'allow' },
  signal: AbortSignal,
): Promise<TurnResult> {
  const { language } = context;
  switch (content.kind) {
    case 'unsupported':
      return say('unsupported', texts.unsupported[language](quoteForMarkdown(content.msgtype)));
    case 'text': {
      const parsed = parseCommand(content.text);
      if (parsed.kind === 'command') {
        // What a person made up is theirs to say: it is no outcome.
        const outcome = `command.${isKnownCommand(parsed.name) ? parsed.name : 'unknown'}`;
        return say(outcome, await answerCommand(context, turn, access, parsed.name));
      }
      if (parsed.text === '' && content.attachments === 0)
        return say('command.help', texts.help[language](context.askModel !== null));
      if (parsed.text === '') return say('unsupported', texts.unsupported[language]('picture'));
      const result = await answerWords(context, turn, access.place, signal);
      return content.attachments > 0 ? withNote(result, texts.picturesIgnored[language]) : result;
    }
    default:
      return content satisfies never;
  }
}

/** Words go to the model; when there is none, or it does not answer in time, that is said instead of silence. */
async function answerWords(
  context: TurnContext,
  turn: ClaimedTurn,
  place: string,
  signal: AbortSignal,
): Promise<TurnResult> {
  if (context.askModel === null) return say('no_model', texts.noModel[context.language]);
  try {
    const reply = await context.askModel(turn, place, signal);
    return { ...say('model', reply.text), detail: { model: reply.model, promptHash: reply.promptHash } };
  } catch (error) {
    if (signal.aborted || !(error instanceof AppError)) throw error;
    context.log.warn('model.unavailable', { turnId: turn.id, correlationId: turn.correlationId, error });
    return { ...say('model_unavailable', texts.modelAway[context.language]), detail: { code: error.code } };
  }
}

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
  const text = texts.turnFailed[context.language](turn.correlationId.slice(-8));
  return { status: 'failed', outcome: 'failed', answer: toMarkdown(text), detail: { code } };
}

const say = (outcome: string, text: string): TurnResult => ({ status: 'done', outcome, answer: toMarkdown(text) });

const withNote = (result: TurnResult, note: string): TurnResult =>
  result.answer === null ? result : { ...result, answer: toMarkdown(`${result.answer.text}\n\n${note}`) };

/** The title is what a phone shows in the list of chats. */
function toMarkdown(text: string): OutboundContent {
  const storable = toStorableText(text.slice(0, maxOutboundTextLength));
  // By code points, so that no character is cut in half.
  const title = Array.from(storable.split('\n', 1)[0] ?? '')
    .slice(0, 60)
    .join('')
    .trim();
  return { kind: 'markdown', title: title === '' ? 'Steward' : title, text: storable };
}
