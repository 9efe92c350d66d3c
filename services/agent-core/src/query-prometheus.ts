import { z } from 'zod';
import { AppError, type StewardConfig } from '@steward/service-kit';
import { builtinDefinitions, builtinLimits, type JsonObject } from '@steward/governance';
import { classifyAnswer } from './classify-answer.ts';
import type { Egress } from './egress.ts';
import { capOutput } from './render-tool-output.ts';
import type { Tool, ToolCallContext, ToolResult } from './tool.ts';

type Server = { environment: StewardConfig['robots'][number]['environment']; url: URL; bearer: string | null };

const maxAnswerBytes = 1_048_576;
const { timeoutMs, maxOutputBytes } = builtinDefinitions.query_prometheus;
/** The server gives up a little before we do, and says so. */
const serverTimeout = '8s';
const shownRows = 50;

const queryArguments = z.strictObject({
  query: z.string().min(1).max(builtinLimits.queryLength),
  time: z.union([z.iso.datetime({ offset: true }), z.string().regex(/^\d{9,11}(?:\.\d{1,3})?$/)]).optional(),
});

/**
 * An instant query of the Prometheus that is configured for the environment of the call; without one the tool belongs to no
 * environment. The host needs no entry under tools.hosts: naming it permits it, a private address included. AppError
 * TOOLS_INVALID when its URL is not a plain one, SECRET_MISSING when its token cannot be read.
 */
export function createQueryPrometheus(o: {
  servers: StewardConfig['tools']['prometheus'];
  readSecret: (name: string) => string;
  egress: Egress;
}): Tool {
  const servers = o.servers.map((server): Server => {
    const url = new URL(server.url);
    if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
      throw new AppError('TOOLS_INVALID', 'tools.prometheus - url must have no user, password, query or fragment', {
        retryable: false,
      });
    const bearer = server.tokenFile === undefined ? null : o.readSecret(server.tokenFile);
    return { environment: server.environment, url, bearer };
  });
  return {
    definition: {
      ...builtinDefinitions.query_prometheus,
      environments: servers.map(({ environment }) => environment),
    },
    run: { kind: 'call', call: (args, context, signal) => runQuery(o.egress, servers, args, context, signal) },
  };
}

async function runQuery(
  egress: Egress,
  servers: readonly Server[],
  args: JsonObject,
  context: ToolCallContext,
  signal: AbortSignal,
): Promise<ToolResult> {
  const server = servers.find(({ environment }) => environment === context.environment);
  if (server === undefined)
    return { kind: 'failed', code: 'WRONG_ENVIRONMENT', text: 'no Prometheus is configured for this environment' };
  const parsed = queryArguments.safeParse(args);
  if (!parsed.success || !parsed.data.query.isWellFormed())
    return {
      kind: 'failed',
      code: 'INVALID_ARGUMENTS',
      text: 'a query of 1 to 1000 characters is needed, and a time as RFC 3339 or Unix seconds',
    };
  const { url, bearer } = server;
  const search = new URLSearchParams({ timeout: serverTimeout, ...parsed.data });
  const answer = await egress({
    target: { host: url.host, http: url.protocol === 'http:', private: true },
    method: 'GET',
    path: `${url.pathname.replace(/\/$/, '')}/api/v1/query?${search.toString()}`,
    headers: {
      accept: 'application/json',
      'x-correlation-id': context.correlationId,
      ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
    },
    body: null,
    maxBytes: maxAnswerBytes,
    timeoutMs,
    signal,
  });
  const classified = classifyAnswer(answer, { effect: 'read', repeatable: true });
  if (classified.kind !== 'done')
    return classified.kind === 'failed' ? classified : { ...classified, kind: 'failed', text: 'no usable answer' };
  return toResult(classified.body);
}

const metric = z.record(z.string(), z.string());
const sample = z.tuple([z.number(), z.string()]);
/** https://prometheus.io/docs/prometheus/latest/querying/api/, "Instant queries" and "Expression query result formats". */
const answerSchema = z.object({
  status: z.literal('success'),
  data: z.discriminatedUnion('resultType', [
    z.object({ resultType: z.literal('scalar'), result: sample }),
    z.object({ resultType: z.literal('string'), result: sample }),
    z.object({
      resultType: z.literal('vector'),
      // Native histograms have no `value`.
      result: z.array(z.object({ metric, value: sample.optional() })),
    }),
    z.object({
      resultType: z.literal('matrix'),
      result: z.array(z.object({ metric, values: z.array(sample).default([]) })),
    }),
  ]),
});

function toResult(body: string): ToolResult {
  const parsed = answerSchema.safeParse(parseJson(body));
  if (!parsed.success)
    return { kind: 'failed', code: 'ANSWER_UNREADABLE', text: 'the server did not answer as Prometheus does' };
  return { kind: 'done', output: capOutput(renderTable(parsed.data.data), maxOutputBytes) };
}

function renderTable(result: z.output<typeof answerSchema>['data']): string {
  if (result.resultType === 'scalar' || result.resultType === 'string') return result.result[1];
  const rows =
    result.resultType === 'vector'
      ? result.result.map((row) => `${renderMetric(row.metric)}  ${row.value?.[1] ?? '(histogram)'}`)
      : result.result.map(
          (row) => `${renderMetric(row.metric)}  ${row.values.at(-1)?.[1] ?? '-'} (last of ${row.values.length})`,
        );
  if (rows.length === 0) return 'no series matches';
  const more = rows.length > shownRows ? [`… ${rows.length - shownRows} more`] : [];
  return [...rows.slice(0, shownRows), ...more].join('\n');
}

function renderMetric({ __name__: name = '', ...labels }: Record<string, string>): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return pairs.length === 0 ? name || '{}' : `${name}{${pairs.join(', ')}}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
