import { AppError } from '@steward/service-kit';
import type { Query } from './query.ts';
import { renderStep, type TraceStep } from './render-step.ts';

const idLimit = 200;

/**
 * One message's whole story, from the door to the receipt of its delivery, in plain lines with local times and durations.
 * `id` may be a msgId, an approval code, or any id of Steward. Rejects with AUDIT_NOT_FOUND.
 */
export async function explainTrace(o: { query: Query; id: string; timeZone: string }): Promise<string[]> {
  const found = await o.query<{ correlationId: string; foundAs: string }>(
    'select correlation_id::text as "correlationId", found_as as "foundAs" from ops.find_correlation($1)',
    [o.id.slice(0, idLimit)],
  );
  if (found.length === 0) {
    const text = 'nothing is known by this id; give a msgId, an approval code, or an id from a log line';
    throw new AppError('AUDIT_NOT_FOUND', text, { retryable: false });
  }
  const stories: string[] = [];
  for (const { correlationId, foundAs } of found) {
    stories.push(`${foundAs} ${o.id.slice(0, idLimit)}, correlation id ${correlationId}`);
    stories.push(...renderStory(await readTrace(o.query, correlationId), o.timeZone), '');
  }
  return stories.slice(0, -1);
}

/** The steps of a correlation id in order, from every service. */
export function readTrace(query: Query, correlationId: string): Promise<TraceStep[]> {
  return query<TraceStep>(
    `select (extract(epoch from t.at) * 1000)::double precision as "atMs", t.source as "source", t.what as "what",
       t.outcome as "outcome", t.who as "who", t.subject_id as "subjectId", t.detail as "detail"
     from ops.trace($1::uuid) t`,
    [correlationId],
  );
}

function renderStory(steps: readonly TraceStep[], timeZone: string): string[] {
  const start = steps[0]?.atMs ?? 0;
  const last = steps.at(-1)?.atMs ?? start;
  const lines = steps.map((step) => renderStep(step, { sinceStartMs: step.atMs - start, timeZone }));
  return [...lines, `${steps.length} steps in ${((last - start) / 1_000).toFixed(3)} s`];
}
