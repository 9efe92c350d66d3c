import { z } from 'zod';

const configName = z.string().regex(/^[a-z0-9-]{1,50}$/, 'must be lower-case letters, digits and dashes');
const fieldPath = z.string().regex(/^[^.\s]{1,60}(?:\.[^.\s]{1,60}){0,9}$/, 'must be a dotted path of fields');
const fieldPaths = z.array(fieldPath).min(1).max(30);

/** Headers that Steward or the connection sets: a tool that set them too could change where or how often it acts. */
const ownHeaders =
  /^(?:host|connection|keep-alive|upgrade|expect|te|trailer|transfer-encoding|content-length|accept-encoding|idempotency-key|x-correlation-id|user-agent|proxy-.*)$/i;

const headerName = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9-]{0,63}$/, 'must be a header name')
  .refine((name) => !ownHeaders.test(name), 'is set by Steward itself');
const printable = z
  .string()
  .max(500)
  .regex(/^[\x20-\x7e]*$/, 'must be printable ASCII');
const headerValue = z.union([printable, z.strictObject({ secret: configName, prefix: printable.default('') })], {
  error: 'must be a text of printable ASCII, or `secret` with the name of a secret and perhaps a `prefix`',
});

const headers = z.record(headerName, headerValue);
const query = z.record(z.string().min(1).max(100), z.string().max(1_000));
const path = z
  .string()
  .max(1_000)
  .regex(
    /^(?:\/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2}|\{\{[A-Za-z][A-Za-z0-9_]{0,63}\}\})+)+\/?$|^\/$/,
    'must be a path such as /services/{{service}}: no host, no query, no empty part',
  )
  .refine((text) => !/\/(?:\.|%2E){1,2}(?:[;/]|$)/i.test(text), 'must have no part of dots alone');

const request = z.strictObject({
  method: z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']),
  /** The name of an entry of `tools.hosts` in the configuration: where this is called. */
  target: configName,
  path,
  query: query.default({}),
  headers: headers.default({}),
  body: z.json().optional(),
});

const preview = z.strictObject({
  /** Always a GET of the same target; without `headers` of its own it sends those of the request. */
  request: z.strictObject({ path, query: query.default({}), headers: headers.optional() }),
  select: fieldPaths,
  compare: z.array(fieldPath).max(30).default([]),
});

/** One file of the tools folder. Unknown keys are faults. What is not declared is the careful choice. */
export const httpToolSchema = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9_]{0,63}$/, 'must be a-z, 0-9 and _, beginning with a letter'),
  description: z.string().min(1).max(1_000),
  parameters: z.record(z.string(), z.json()),
  effect: z.enum(['read', 'write', 'destructive']).default('destructive'),
  repeatable: z.boolean().default(false),
  environments: z
    .array(z.enum(['test', 'production']))
    .min(1)
    .max(2),
  timeoutMs: z.int().min(100).max(120_000).default(10_000),
  maxOutputBytes: z.int().min(100).max(65_536).default(8_192),
  limit: z
    .strictObject({ calls: z.int().min(1).max(10_000), perSeconds: z.int().min(1).max(86_400) })
    .nullable()
    .default(null),
  request,
  /** `text`: the answer as it is. Otherwise it must be JSON, of which `select` shows some fields. */
  response: z.union([z.literal('text'), z.strictObject({ select: fieldPaths.optional() })]).default({}),
  preview: preview.optional(),
});
export type HttpToolFile = z.output<typeof httpToolSchema>;
export type HeaderTemplates = HttpToolFile['request']['headers'];
