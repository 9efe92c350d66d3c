import type { CallRecord, ChatRecord, EffectRecord, PushRecord } from '@steward/dingtalk-simulator';

/** What the simulated DingTalk saw: what people said and pressed, what was said to them, what was called and done. */
export type SimulatorFacts = {
  pushes: readonly PushRecord[];
  lines: readonly ChatRecord[];
  calls: readonly CallRecord[];
  effects: readonly EffectRecord[];
};

/** What Steward wrote down, as far as the checker looks at it. */
export type LedgerFacts = {
  events: readonly LedgerEvent[];
  turns: readonly LedgerTurn[];
  messages: readonly LedgerMessage[];
  sends: readonly LedgerAttempt[];
  toolCalls: readonly LedgerToolCall[];
  toolAttempts: readonly LedgerToolAttempt[];
};

/** An inbound event. `sequence` is its place in the order of its conversation, null where there is none. */
export type LedgerEvent = {
  id: string;
  sourceId: string | null;
  place: string;
  sequence: number | null;
  isSettled: boolean;
};
export type LedgerTurn = { id: string; eventId: string; status: string };
export type LedgerMessage = { id: string; status: string; reason: string | null; text: string; isEnded: boolean };
/** An attempt that may have touched the world. `code` says why it came out so; `isOpen`: nobody has closed it. */
export type LedgerAttempt = {
  id: string;
  subjectId: string;
  outcome: string;
  code: string | null;
  isOpen: boolean;
  startedAt: number;
};
export type LedgerToolCall = {
  id: string;
  tool: string;
  effect: string | null;
  status: string;
  arguments: string;
  requester: string | null;
  /** Who said yes. */
  approvers: readonly string[];
  /** Break-glass: somebody acted alone and was to be reviewed. */
  isBreakGlass: boolean;
  isEnded: boolean;
};
export type LedgerToolAttempt = LedgerAttempt & { idempotencyKey: string };

/** The audit log: what verifying it found wrong, and how often each kind of entry names a subject (`kind subject`). */
export type AuditFacts = { faults: readonly string[]; entries: ReadonlyMap<string, number> };

/** Everything that could have leaked a secret, by the place it was found in. */
export type CollectedText = { place: string; text: string };

/** A planted secret. `lawfulIn`: places where it has to be, because somebody said it there. */
export type Canary = { kind: string; text: string; lawfulIn?: readonly string[] };

export type RunFacts = {
  simulator: SimulatorFacts;
  ledger: LedgerFacts;
  audit: AuditFacts;
  texts: readonly CollectedText[];
};

/** A limit of the platform: so many of the matching calls in any sliding window. */
export type RateLimit = { name: string; windowMs: number; max: number; matches: (call: CallRecord) => boolean };

/** An injected fault under which an outcome may be unknown: attempts of that kind begun from `since` to `until`. */
export type UnknownAllowance = { fault: string; kind: 'send' | 'tool'; since: number; until: number };

export type RunRules = {
  /** msgIds that must have no answer, and tickets that must have no effect. */
  silent?: ReadonlySet<string>;
  noEffect?: ReadonlySet<string>;
  /** Tickets that one person approved and another denied at once: the effect may or may not have happened. */
  contested?: ReadonlySet<string>;
  /** Conversations where answers to plain questions are not counted, because Steward speaks there unasked (approvals). */
  governedRooms?: ReadonlySet<string>;
  /** Lines that Steward says of its own accord. */
  notices?: readonly RegExp[];
  limits?: readonly RateLimit[];
  allowances?: readonly UnknownAllowance[];
  canaries?: readonly Canary[];
};
