import { AppError } from '@steward/service-kit';

/** Why a door said no. One word each: they are metric labels, audit details and the code in the answer. */
export type RefusalReason =
  | 'UNKNOWN_ROBOT'
  | 'DOOR_CLOSED'
  | 'SIGNATURE_MISSING'
  | 'SIGNATURE_STALE'
  | 'SIGNATURE_MISMATCH'
  | 'BODY_MALFORMED'
  | 'BODY_TOO_LARGE'
  | 'BODY_ENCODING'
  | 'ROBOT_MISMATCH'
  | 'TOO_MANY_REQUESTS'
  | 'OVERLOADED';

const statusOf: Record<RefusalReason, number> = {
  UNKNOWN_ROBOT: 404,
  DOOR_CLOSED: 404,
  SIGNATURE_MISSING: 401,
  SIGNATURE_STALE: 401,
  SIGNATURE_MISMATCH: 401,
  BODY_MALFORMED: 400,
  BODY_TOO_LARGE: 413,
  BODY_ENCODING: 415,
  ROBOT_MISMATCH: 400,
  TOO_MANY_REQUESTS: 429,
  OVERLOADED: 503,
};

const textOf: Record<RefusalReason, string> = {
  UNKNOWN_ROBOT: 'no robot of that name is configured here',
  DOOR_CLOSED: 'this robot does not use this door; see `doors` in steward.yaml',
  SIGNATURE_MISSING: 'the signature or its timestamp is missing',
  SIGNATURE_STALE: 'the timestamp is more than one hour away from this clock; check both clocks',
  SIGNATURE_MISMATCH: 'the signature does not fit; check the app secret',
  BODY_MALFORMED: 'the body is not what DingTalk sends to this address',
  BODY_TOO_LARGE: 'the body is larger than this door takes',
  BODY_ENCODING: 'compressed bodies are not accepted',
  ROBOT_MISMATCH: 'the body names another robot than the address',
  TOO_MANY_REQUESTS: 'too many requests; wait a minute',
  OVERLOADED: 'too much is waiting to be recorded; try again',
};

/** A refusal as an error: says what to do, echoes nothing of what was sent. */
export function refuse(reason: RefusalReason, cause?: unknown): AppError {
  return new AppError(reason, textOf[reason], {
    retryable: statusOf[reason] >= 429,
    details: { status: statusOf[reason] },
    cause,
  });
}

/** The refusal that an error stands for. Whatever is not our own refusal means that the event could not be recorded. */
export function toRefusal(error: unknown): { status: number; reason: RefusalReason; text: string } {
  const reason = reasonOf(error);
  return { status: statusOf[reason], reason, text: textOf[reason] };
}

function reasonOf(error: unknown): RefusalReason {
  if (error instanceof AppError) return isReason(error.code) ? error.code : 'OVERLOADED';
  const status = error instanceof Error && 'status' in error ? error.status : undefined;
  if (status === 413) return 'BODY_TOO_LARGE';
  if (status === 415) return 'BODY_ENCODING';
  if (status === 400) return 'BODY_MALFORMED';
  return 'OVERLOADED';
}

const isReason = (code: string): code is RefusalReason => code in statusOf;
