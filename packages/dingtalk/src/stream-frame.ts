import { z } from 'zod';
import { optionalId, requiredId } from './lenient.ts';

/** The topics of pushes that want an answer. Source: official docs, "Stream protocol". */
export const robotTopic = '/v1.0/im/bot/messages/get';
export const cardTopic = '/v1.0/card/instances/callback';

/** One text frame from the server. `payload` is the decoded `data`, undefined when it is not JSON. */
export type StreamFrame = {
  type: string;
  topic: string;
  messageId: string | null;
  connectionId: string | null;
  headers: Record<string, unknown>;
  data: string;
  payload: unknown;
};

/** Our answer to a frame; `messageId` is the only thing that ties it to the frame. */
export type StreamAck = {
  code: 200 | 400 | 404 | 500;
  message: string;
  headers: { messageId: string; contentType: 'application/json' };
  data: string;
};

const frameSchema = z.object({
  type: z.string().max(100),
  headers: z.record(z.string(), z.unknown()),
  data: z.string().nullable().catch(null).default(null),
});
const headersSchema = z.object({
  topic: requiredId(300).catch(''),
  messageId: optionalId(300),
  connectionId: optionalId(300),
});

/** Reads a text frame, decoding twice. Null when it is no frame; never throws. */
export function parseStreamFrame(text: string): StreamFrame | null {
  const parsed = frameSchema.safeParse(parseJson(text));
  if (!parsed.success) return null;
  const { type, headers } = parsed.data;
  const data = parsed.data.data ?? '';
  return { type, headers, data, payload: parseJson(data), ...headersSchema.parse(headers) };
}

/** An answer whose `data` is the JSON text of `content`. */
export function buildAck(messageId: string, code: StreamAck['code'], content: unknown): StreamAck {
  const message = { 200: 'OK', 400: 'Bad Request', 404: 'Not Found', 500: 'Internal Error' }[code];
  return { code, message, headers: { messageId, contentType: 'application/json' }, data: JSON.stringify(content) };
}

/** The answer to a ping: the same `data` back, byte for byte. */
export function buildPong(messageId: string, data: string): StreamAck {
  return { ...buildAck(messageId, 200, null), data };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
