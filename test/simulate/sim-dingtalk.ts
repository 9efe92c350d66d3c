import type { AttemptResult } from '../../services/outbound-sender/src/close-attempt.ts';
import { isRepeatable } from '../../services/outbound-sender/src/decide-next.ts';
import type { OpenAttempt } from '../../services/outbound-sender/src/open-attempt.ts';
import type { Heard } from './check-promises.ts';
import type { World } from './world.ts';

/** What the platform refuses or does not answer, in one seed. */
const maxRefusals = 4;

/** The platform takes a message, refuses it, or takes it and is not heard; `heard` is what people read, in order. */
export function createSimDingTalk({ random, meet, now }: Pick<World, 'random' | 'meet' | 'now'>) {
  const heard: Heard[] = [];
  let refusals = 0;
  const take = ({ outboundMessageId, part, text, unknownCount, path }: OpenAttempt) =>
    heard.push({
      ...{ outboundMessageId, part, text, atMs: now().getTime() },
      isMarked: unknownCount > 0 && !isRepeatable(path),
    });
  const say = (outcome: AttemptResult['outcome'], code: string | null, what?: string): AttemptResult => {
    if (what !== undefined) meet(what);
    return { outcome, code, processQueryKey: null, retryAfterMs: null };
  };
  const send = (attempt: OpenAttempt): AttemptResult => {
    const chance = refusals < maxRefusals ? random() : 1;
    if (chance < 0.3) refusals += 1;
    if (chance < 0.1) return say('retryable', 'QPS', 'refusals');
    if (chance >= 0.18 && chance < 0.25) return say('unknown', 'RESET', 'unknowns');
    if (chance >= 0.25 && chance < 0.3) return say('permanent', 'NO_PERMISSION', 'permanents');
    take(attempt);
    return chance < 0.18 ? say('unknown', 'TIMEOUT', 'unknowns') : say('accepted', null);
  };
  return { send, heard };
}
