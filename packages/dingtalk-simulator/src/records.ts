/** One call received by the API surface, in the order it was answered. */
export type CallRecord = {
  n: number;
  at: number;
  method: string;
  path: string;
  query: Record<string, string>;
  body: unknown;
  status: number;
  /** `ok`, `unsupported`, or the code of the refusal; ends with ` (response lost)` when the caller did not see it. */
  outcome: string;
  robot?: string;
  conversationId?: string;
  staffIds?: string[];
  text?: string;
  processQueryKey?: string;
};

/** One line of a chat, said by a person or by a robot. */
export type ChatRecord = {
  n: number;
  at: number;
  conversationId: string;
  /** The person of a 1:1 chat. */
  staffId?: string;
  from: { kind: 'person' | 'robot' | 'customRobot'; id: string };
  via: 'chat' | 'sessionWebhook' | 'batchSend' | 'groupSend' | 'customRobot' | 'card';
  msgtype: string;
  text: string;
  content: unknown;
  /** Those whom the @ really reaches: listed in `at` and written in the text (reference section 5.1). */
  mentions: string[];
  msgId?: string;
  processQueryKey?: string;
  /** When it was taken back: nobody sees it any more. */
  recalledAt?: number;
};

/** What became of a card by one call: its values for everybody and, by person, what only they see instead. */
export type CardVersion = {
  n: number;
  at: number;
  outTrackId: string;
  /** `answer`: by what the receiver of a click answered. */
  cause: 'created' | 'updated' | 'answer';
  params: Record<string, string>;
  privateParams: Record<string, Record<string, string>>;
};

/** A card as it stands. */
export type CardRecord = {
  outTrackId: string;
  appKey: string;
  templateId: string;
  callbackType: string;
  callbackRouteKey: string;
  supportForward: boolean;
  params: Record<string, string>;
  privateParams: Record<string, Record<string, string>>;
  spaces: CardSpaceRecord[];
  versions: CardVersion[];
};

/** One place that a card was delivered to, and who sees it there. */
export type CardSpaceRecord = {
  at: number;
  spaceType: string;
  conversationId: string;
  visibleTo: string[];
  carrierId: string;
};

/** One change that the pretend company system made. */
export type EffectRecord = {
  n: number;
  at: number;
  verb: 'restart' | 'scale' | 'delete';
  service: string;
  idempotencyKey: string | null;
  body: Record<string, unknown>;
};

export type AttemptOutcome =
  /** HTTP 2xx in time, a Stream ack with code 200, or an event answered with success. */
  | 'acked'
  /** Event over Stream: the receiver asked for it again. */
  | 'later'
  /** Another HTTP status, a Stream ack with another code, or an answer that does not verify. */
  | 'refused'
  | 'timeout'
  /** Connection refused, reset, or closed before the ack. */
  | 'broken'
  /** No live connection subscribed to the topic, or no URL. */
  | 'no-door'
  /** Written to a connection that has silently stopped. */
  | 'swallowed';

export type Attempt = {
  at: number;
  ms: number;
  outcome: AttemptOutcome;
  /** HTTP status of the receiver. */
  status?: number;
  /** HTTP: what was signed and sent as headers. */
  headers?: Record<string, string>;
  connectionId?: string;
  /** Stream: headers.messageId of the frame, new for each attempt. */
  messageId?: string;
  /** What the receiver answered: parsed where it was JSON. */
  answer?: unknown;
  error?: string;
};

/** One thing pushed to the program under test, with every attempt. */
export type PushRecord = {
  n: number;
  at: number;
  kind: 'robot' | 'card' | 'event';
  appKey: string;
  robotCode: string;
  /** msgId, outTrackId or eventId. */
  key: string;
  via: 'http' | 'stream';
  payload: Record<string, unknown>;
  attempts: Attempt[];
  outcome: 'pending' | 'acked' | 'failed' | 'dropped';
};
