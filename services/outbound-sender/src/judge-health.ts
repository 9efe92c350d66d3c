import type { SendOutcome } from '@steward/dingtalk';

/**
 * What an ended call says about the platform, for its breaker: true is the platform's own fault, false is health, and
 * 'neutral' is about us. It is to blame for silence and for what it says is its own trouble; our mistakes say nothing.
 */
export function judgeHealth(outcome: SendOutcome): boolean | 'neutral' {
  switch (outcome.kind) {
    case 'accepted':
      return false;
    case 'unknown':
    case 'retryable':
      return true;
    case 'token':
    case 'permanent':
    case 'invalid':
    case 'session_gone':
      return 'neutral';
    default:
      return outcome satisfies never;
  }
}
