import type { Effect } from '@steward/governance';
import type { EgressResult } from './egress.ts';

export type Classified =
  { kind: 'done'; body: string } | { kind: 'failed'; code: string; text: string } | { kind: 'unknown'; code: string };

/** Refusals that may come after the work has begun, or from something between: 408, 425 and 429 invite the same request again. */
const unsureStatuses: readonly number[] = [408, 425, 429];
const maxExcerptLength = 500;

/**
 * What an answer means for a call. A read that did not work has failed, whatever the reason. For all other tools `failed`
 * is said only where nothing can have happened: the request was not sent, or the system refused it (4xx, except 408, 425 and 429).
 * A 409 counts as refused for a tool that is called once; for a repeatable one it may mean that the earlier attempt with
 * the same idempotency key is still at work. Everything else is unknown, redirects after a write included: they often follow
 * a success. Pure.
 */
export function classifyAnswer(result: EgressResult, tool: { effect: Effect; repeatable: boolean }): Classified {
  if (result.kind === 'not_sent')
    return { kind: 'failed', code: result.code, text: `the request was not sent (${result.code})` };
  if (result.kind === 'answered' && result.status >= 200 && result.status < 300)
    return { kind: 'done', body: result.body };
  const code = result.kind === 'answered' ? `HTTP_${result.status}` : result.code;
  const isCertain = tool.effect === 'read' || (result.kind === 'answered' && isRefusal(result.status, tool));
  return isCertain ? { kind: 'failed', code, text: describe(result, code) } : { kind: 'unknown', code };
}

function isRefusal(status: number, tool: { repeatable: boolean }): boolean {
  if (status === 409) return !tool.repeatable;
  return status >= 400 && status < 500 && !unsureStatuses.includes(status);
}

function describe(result: EgressResult, code: string): string {
  if (result.kind !== 'answered') return `the system gave no usable answer (${code})`;
  const excerpt = Array.from(result.body.replace(/\s+/g, ' ').trim()).slice(0, maxExcerptLength).join('');
  return excerpt === '' ? `the system answered ${result.status}` : `the system answered ${result.status}: ${excerpt}`;
}
