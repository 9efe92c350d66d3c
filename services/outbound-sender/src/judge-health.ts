import type { SendOutcome } from '@steward/dingtalk';
import { wishOf } from './hold-scope.ts';

/**
 * What an ended call says about the platform, for its breaker: true is the platform's own fault, false is health, and
 * 'neutral' is about us. It is to blame for silence and for what it says is its own trouble; our mistakes say nothing, and
 * neither does our rate: that is what holds are for.
 */
export function judgeHealth(outcome: SendOutcome): boolean | 'neutral' {
  switch (outcome.kind) {
    case 'accepted':
      return false;
    case 'unknown':
      return true;
    case 'retryable': {
      const wish = wishOf(outcome);
      return wish === null || wish.scope === 'platform' ? true : 'neutral';
    }
    case 'token':
    case 'permanent':
    case 'invalid':
    case 'session_gone':
      return 'neutral';
    default:
      return outcome satisfies never;
  }
}
