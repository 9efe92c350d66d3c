/** What a refusal is about, so that the caller pauses that and nothing more. */
export type OutcomeScope =
  /** This one outbound message. */
  | 'content'
  /** The group or person it was for. */
  | 'target'
  /** This robot. */
  | 'robot'
  /** This app: its credentials, permissions, or its rate on this API. */
  | 'app'
  /** The customer's organisation: its monthly quota. */
  | 'organisation'
  /** Our egress address, for every API. */
  | 'egress'
  /** DingTalk itself. */
  | 'platform';

/** The platform said yes. That is not "delivered to everybody": look at the two lists. */
export type SendAccepted = {
  kind: 'accepted';
  /** The handle for read status and recall; webhooks give none. */
  processQueryKey?: string;
  /** People who do not exist for this robot: permanent for each of them. */
  invalidStaffIds: string[];
  /** People who were throttled: send again to these, later. */
  flowControlledStaffIds: string[];
};

export type SendRefused = {
  /**
   * retryable: not sent, later may work · token: not sent, the access token was refused twice · permanent: not sent,
   * a person must act · invalid: not sent, our request is wrong · session_gone: the reply address is dead, use the
   * API · unknown: it may have been sent.
   */
  kind: 'retryable' | 'token' | 'permanent' | 'invalid' | 'session_gone' | 'unknown';
  /** The platform's code, or ours in UPPER_SNAKE where no answer came. */
  code: string;
  /** Our words on it; nothing secret and nothing of what was sent. */
  text: string;
  /** Do not try sooner. */
  retryAfterMs?: number;
  scope?: OutcomeScope;
};

/** How one call to send something ended. Sends never reject; they end in one of these. */
export type SendOutcome = SendAccepted | SendRefused;
