import { AppError, describeError } from '@steward/service-kit';
import type { Environment } from '@steward/contracts';
import {
  toHttpDefinition,
  type HeaderTemplates,
  type HttpToolFile,
  type Json,
  type JsonObject,
} from '@steward/governance';
import { classifyAnswer } from './classify-answer.ts';
import type { Egress, EgressTarget } from './egress.ts';
import { renderBody, renderPath } from './render-http-call.ts';
import { capOutput, renderJson, selectFields } from './render-tool-output.ts';
import type { Tool, ToolCallContext, ToolResult } from './tool.ts';

/** Where and with which secrets a tool is called in one environment. */
export type HttpToolPlace = { target: EgressTarget; secrets: ReadonlyMap<string, string> };
type Places = Readonly<Partial<Record<Environment, HttpToolPlace>>>;

/** The most of an answer that is taken, before it is cut to `maxOutputBytes`. */
const maxAnswerBytes = 1_048_576;
const maxPreviewBytes = 16_384;
/** What is shorter is no secret, and masking it would tear words apart. */
const minSecretLength = 4;

/** The tool of one checked file. Secrets go into headers of its calls and are masked in what comes back. */
export function createHttpTool(o: { file: HttpToolFile; places: Places; egress: Egress }): Tool {
  const { file } = o;
  const tool: Tool = {
    definition: toHttpDefinition(file, targetsOf(o.places)),
    run: { kind: 'call', call: (args, context, signal) => callTool(o, args, context, signal) },
  };
  const { preview } = file;
  if (preview === undefined) return tool;
  return { ...tool, preview: (args, context, signal) => loadPreview({ ...o, preview }, args, context, signal) };
}

const targetsOf = (places: Places) =>
  Object.fromEntries(Object.entries(places).map(([environment, { target }]) => [environment, target]));

type Made = { file: HttpToolFile; places: Places; egress: Egress };

async function callTool(o: Made, args: JsonObject, context: ToolCallContext, signal: AbortSignal): Promise<ToolResult> {
  const { file } = o;
  const place = o.places[context.environment];
  if (place === undefined)
    return {
      kind: 'failed',
      code: 'WRONG_ENVIRONMENT',
      text: `this tool is not of environment ${context.environment}`,
    };
  let path: string;
  let body: string | null;
  try {
    path = renderPath(file.request, args);
    body = renderBody(file.request, args);
  } catch (error) {
    return { kind: 'failed', code: 'INVALID_ARGUMENTS', text: describeError(error).text };
  }
  const { method, headers } = file.request;
  const sent = {
    ...toHeaders(headers, place, context),
    ...(body === null ? {} : { 'content-type': 'application/json' }),
  };
  const { target } = place;
  const { timeoutMs } = file;
  const answer = await o.egress({
    target,
    method,
    path,
    headers: sent,
    body,
    maxBytes: maxAnswerBytes,
    timeoutMs,
    signal,
  });
  const classified = classifyAnswer(answer, file);
  if (classified.kind === 'unknown') return classified;
  if (classified.kind === 'failed') return { ...classified, text: mask(classified.text, place) };
  return toResult(file, mask(classified.body, place));
}

/**
 * What a good answer says. An answer that should be JSON and is not may come from anybody on the way (a login page, a proxy):
 * then nobody knows whether a write was made.
 */
function toResult(file: HttpToolFile, body: string): ToolResult {
  const { response, maxOutputBytes, effect } = file;
  if (response === 'text' || body.trim() === '') return { kind: 'done', output: capOutput(body, maxOutputBytes) };
  const json = parseJson(body);
  if (json !== undefined) {
    const shown = response.select === undefined ? json : toShown(json, response.select);
    return { kind: 'done', output: capOutput(renderJson(shown), maxOutputBytes) };
  }
  const code = 'ANSWER_NOT_JSON';
  return effect === 'read'
    ? { kind: 'failed', code, text: 'the system did not answer in JSON' }
    : { kind: 'unknown', code };
}

/** Of one selected field the value alone: a list then stands one element on a line. */
function toShown(json: Json, select: readonly string[]): Json {
  const fields = selectFields(json, select);
  return select.length === 1 ? (Object.values(fields)[0] ?? null) : fields;
}

type Preview = NonNullable<HttpToolFile['preview']>;

/** What the system says now about that which the call would change. AppError PREVIEW_FAILED, with the reason as its text. */
async function loadPreview(
  o: Made & { preview: Preview },
  args: JsonObject,
  context: ToolCallContext,
  signal: AbortSignal,
): Promise<JsonObject> {
  const { file, preview } = o;
  const place = o.places[context.environment];
  if (place === undefined) throw previewFailed('this tool is not of that environment');
  const answer = await o.egress({
    target: place.target,
    method: 'GET',
    path: renderPath(preview.request, args),
    headers: toHeaders(preview.request.headers ?? file.request.headers, place, { ...context, idempotencyKey: null }),
    body: null,
    maxBytes: maxAnswerBytes,
    timeoutMs: file.timeoutMs,
    signal,
  });
  const classified = classifyAnswer(answer, { effect: 'read', repeatable: true });
  if (classified.kind !== 'done') throw previewFailed(`the system did not say how it is (${classified.code})`);
  const json = parseJson(mask(classified.body, place));
  if (json === undefined) throw previewFailed('the system did not answer in JSON');
  const fields = selectFields(json, preview.select);
  // Only a single value has one spelling, wherever it was stored in between.
  const unclear = preview.compare.find((field) => fields[field] === null || typeof fields[field] === 'object');
  if (unclear !== undefined) throw previewFailed(`there is no single value of the compared field ${unclear}`);
  if (Buffer.byteLength(JSON.stringify(fields)) > maxPreviewBytes) throw previewFailed('it is too large to be shown');
  return fields;
}

function previewFailed(why: string): AppError {
  return new AppError('PREVIEW_FAILED', `no preview: ${why}`, { retryable: true });
}

function toHeaders(
  templates: HeaderTemplates,
  place: HttpToolPlace,
  context: { idempotencyKey: string | null; correlationId: string },
): Record<string, string> {
  const own = Object.entries(templates).map(([name, value]) => {
    if (typeof value === 'string') return [name, value];
    const secret = place.secrets.get(value.secret);
    if (secret === undefined)
      throw new AppError('SECRET_MISSING', 'a secret of this tool was not read', { retryable: false });
    return [name, `${value.prefix}${secret}`];
  });
  return {
    accept: 'application/json, text/*;q=0.5',
    ...(Object.fromEntries(own) as Record<string, string>), // pairs of texts
    ...(context.idempotencyKey === null ? {} : { 'idempotency-key': context.idempotencyKey }),
    'x-correlation-id': context.correlationId,
  };
}

/** A system that repeats its caller's secret must not bring it into a chat. */
function mask(text: string, { secrets }: HttpToolPlace): string {
  return [...secrets.values()].reduce(
    (clean, secret) => (secret.length < minSecretLength ? clean : clean.replaceAll(secret, '[redacted]')),
    text,
  );
}

function parseJson(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
