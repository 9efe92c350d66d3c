import { approvalTexts } from './approvals/approval-texts.ts';
import { loadVotes } from './approvals/load-request.ts';
import { nameOf, statusText } from './approvals/tell-places.ts';
import type { GateContext } from './gate/gate-context.ts';
import type { CallRow } from './gate/load-calls.ts';
import { quoteForMarkdown, quoteLines } from './quote-for-markdown.ts';
import type { Language } from './texts.ts';
import { toolTexts } from './tool-texts.ts';

const maxLines = 60;

/** What the requester reads when the calls of a command have ended: how each came out, who decided, and what it said. */
export async function renderCalls(context: GateContext, calls: readonly CallRow[]): Promise<string> {
  const parts = await Promise.all(calls.map((call) => renderCall(context, call)));
  return parts.join('\n\n');
}

async function renderCall(context: GateContext, call: CallRow): Promise<string> {
  const t = toolTexts[context.language];
  const tool = quoteForMarkdown(call.tool);
  const { approvers, deniers, why } = await loadDeciders(context, call.requestId);
  switch (call.status) {
    case 'done':
      return [t.done(tool, approvers), ...renderOutput(call.result ?? '')].join('\n');
    case 'failed':
      return [t.failed(tool, call.code ?? ''), ...renderOutput(call.result ?? '')].join('\n');
    case 'unknown':
      return approvalTexts[context.language].unknown({
        code: call.requestCode ?? '–',
        tool,
        reference: call.correlationId.slice(-8),
      });
    case 'refused':
      return t.refused(tool, call.code ?? call.verdictReason, quoteForMarkdown(call.result ?? ''));
    case 'denied':
      return t.denied(tool, deniers, quoteForMarkdown(why));
    case 'expired':
      return t.expired(tool, call.code ?? '');
    case 'cancelled':
      return `${tool}: ${statusText(context.language, 'cancelled', call.code)}`;
    case 'void':
      return t.void(tool, call.code ?? '');
    case 'ready':
    case 'waiting':
    case 'running':
      return t.waiting(tool, call.requestCode ?? '');
    default:
      return call.status satisfies never;
  }
}

/** Who decided on a call, as people are told: those who approved, those who denied, and what the last of these wrote. */
async function loadDeciders(
  context: GateContext,
  requestId: string | null,
): Promise<{ approvers: string; deniers: string; why: string }> {
  const votes = requestId === null ? [] : (await loadVotes(context.db, requestId)).votes;
  const namesOf = (decision: 'approve' | 'deny') =>
    votes
      .filter((vote) => vote.decision === decision)
      .map((vote) => quoteForMarkdown(nameOf(context, vote)))
      .join(', ');
  const why = votes.filter(({ decision }) => decision === 'deny').at(-1)?.reason ?? '';
  return { approvers: namesOf('approve'), deniers: namesOf('deny'), why };
}

/** The line that stands in the transcript while a turn waits: a closed text, never an open call. */
export function renderWaiting(language: Language, calls: readonly CallRow[]): string {
  const t = toolTexts[language];
  return calls
    .filter(({ status }) => status === 'waiting' || status === 'running' || status === 'ready')
    .map(({ tool, requestCode }) => t.waiting(quoteForMarkdown(tool), requestCode ?? ''))
    .join('\n');
}

/** What the model is told of a call that has ended. It is data about its proposal, in words that leave no room for a claim. */
export function renderForModel(call: CallRow): string {
  switch (call.status) {
    case 'done':
      return call.result ?? 'Done. The tool said nothing.';
    case 'failed':
      return `FAILED (${call.code ?? ''}). Nothing was changed. ${call.result ?? ''}`;
    case 'unknown':
      return 'OUTCOME UNKNOWN: nobody knows whether it happened. Do not propose it again; tell the person to look.';
    case 'refused':
      return `REFUSED (${call.code ?? call.verdictReason}). ${call.result ?? ''}`;
    case 'denied':
    case 'expired':
    case 'cancelled':
    case 'void':
      return `NOT DONE: the approval is ${call.status} (${call.code ?? ''}). Do not propose it again by yourself.`;
    case 'ready':
    case 'waiting':
    case 'running':
      return `Waiting for ${call.requestCode ?? 'its outcome'}.`;
    default:
      return call.status satisfies never;
  }
}

/**
 * A tool's output for a phone: JSON becomes a list, anything else a quotation. Every line begins with a mark of ours, so that no
 * output looks like a line that Steward says.
 */
export function renderOutput(text: string): string[] {
  if (text === '') return [];
  const { lines, mark } = toLines(text);
  return quoteLines(lines, { maxLines }).map((line) => `${mark}${line}`);
}

function toLines(text: string): { lines: string[]; mark: '- ' | '> ' } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { lines: text.split(/[\n\r\v\f\u0085\u2028\u2029]/), mark: '> ' };
  }
  if (Array.isArray(value)) return { lines: value.map(toLine), mark: '- ' };
  if (typeof value === 'object' && value !== null)
    return { lines: Object.entries(value).map(([name, inner]) => `${name}: ${toLine(inner)}`), mark: '- ' };
  return { lines: [String(value)], mark: '> ' };
}

function toLine(value: unknown): string {
  if (Array.isArray(value)) return value.map(toLine).join(', ');
  if (typeof value === 'object' && value !== null)
    return Object.entries(value)
      .map(([name, inner]) => `${name} ${toLine(inner)}`)
      .join(' · ');
  return String(value);
}
