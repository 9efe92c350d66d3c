import { sql, type RawBuilder } from 'kysely';
import type { ClaimedTurn, RoomHealth } from './claim-turn.ts';

/** What a failed turn means for its conversation. */
export type Failure = {
  code: string;
  /** False: the room heard the same a moment ago, and this one is only counted. */
  isSaid: boolean;
  /** The same error so often since it was last said. */
  untold: number;
  /** Nothing but commands is begun in the room for so long; 0: it goes on. */
  coolSeconds: number;
};

/** The same error is said once in this time. */
const repeatSeconds = 60;
/** So many failures one after the other: then it is not the request. */
const coolAfter = 3;
const firstCoolSeconds = 10;
const maxCoolSeconds = 300;

/**
 * Judges one more failure of a room. Identical errors close together are said once; after three in a row the room cools down,
 * 10 s at first and twice as long with each further failure, up to 5 minutes. Nothing is lost meanwhile: turns wait. Pure.
 */
export function judgeFailure(room: RoomHealth, code: string): Failure {
  const failures = room.failures + 1;
  const isRepeated = room.errorCode === code && room.errorAgeSeconds !== null && room.errorAgeSeconds < repeatSeconds;
  // That it pauses is news, whatever was said before.
  const isSaid = !isRepeated || failures === coolAfter;
  const doublings = failures - coolAfter;
  const coolSeconds = doublings < 0 ? 0 : Math.min(maxCoolSeconds, firstCoolSeconds * 2 ** Math.min(doublings, 10));
  return { code, isSaid, untold: room.errorCode === code ? room.errorsUntold : 0, coolSeconds };
}

/**
 * What the end of a turn means for its conversation, as the step `health` of the statement that ends it; null where that is
 * nothing. A command neither fails a room nor mends it.
 */
export function healthStep(
  { lane, robotCode, conversationId, room }: ClaimedTurn,
  failure: Failure | undefined,
  onlyIf: RawBuilder<unknown>,
): RawBuilder<unknown> | null {
  if (lane === 'control' || (failure === undefined && room.failures === 0)) return null;
  const changes = failure === undefined ? sql`failures = 0, cool_until = null` : toChanges(failure);
  return sql`health as (
      update agent_core.conversation set ${changes}
      where (robot_code, conversation_id) = (${robotCode}, ${conversationId}) and ${onlyIf}
    )`;
}

const toChanges = ({ code, isSaid, coolSeconds }: Failure): RawBuilder<unknown> => sql`
  failures = failures + 1, cool_until = now() + nullif(${coolSeconds}::integer, 0) * interval '1 s',
  ${isSaid ? sql`error_code = ${code}, error_told_at = now(), errors_untold = 0` : sql`errors_untold = errors_untold + 1`}`;
