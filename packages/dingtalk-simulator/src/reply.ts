/** One call as it arrived, its body decoded where it was JSON. */
export type ApiRequest = {
  method: string;
  path: string;
  query: URLSearchParams;
  header(name: string): string | undefined;
  bytes: number;
  /** The JSON object of the body; empty when there was none or it did not parse. */
  body: Record<string, unknown>;
  isJson: boolean;
  remoteIp: string;
};

/** What DingTalk answers, and what the records say about it. */
export type Reply = {
  status: number;
  body: unknown;
  contentType?: string;
  /** `ok`, or the code of the refusal. */
  outcome: string;
  /** For sends: where it went and what it said. */
  sent?: { conversationId?: string; staffIds?: string[]; robot: string; text: string; processQueryKey?: string };
};

export type ApiRoute = (request: ApiRequest) => Reply;

export function ok(body: unknown, sent?: Reply['sent']): Reply {
  return { status: 200, body, outcome: 'ok', ...(sent && { sent }) };
}

/** A text field of a body or query, or '' when it is absent or of another type. */
export function textField(body: Record<string, unknown>, name: string): string {
  const value = body[name];
  return typeof value === 'string' ? value : '';
}

/** The object a value is, or an empty one. */
export function objectOf(value: unknown): Record<string, unknown> {
  return isObject(value) ? value : {};
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The JSON object a text holds, or undefined. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
