import { describe, expect, it } from '@jest/globals';
import type { SendRefused } from '@steward/dingtalk';
import { wishOf } from './hold-scope.ts';

const refused = (over: Partial<SendRefused>): SendRefused => ({
  ...{ kind: 'retryable', code: 'x', text: 'x', retryAfterMs: 2_000, scope: 'app' },
  ...over,
});

describe('what a refusal pauses', () => {
  it.each<[string, Partial<SendRefused>, ReturnType<typeof wishOf>]>([
    ['the scope that it names, for its time', {}, { scope: 'app', ms: 2_000 }],
    ['nothing but the message for its content', { scope: 'content' }, null],
    ['nothing but the message for its recipient', { scope: 'target' }, null],
    ['nothing without a time', { retryAfterMs: undefined }, null],
    ['every robot for a ban', { scope: 'egress', code: '1111' }, { scope: 'egress', ms: 2_000 }],
    ['every robot for no odd answer', { scope: 'egress', code: 'HTTP_404' }, null],
    [
      'the organisation when its month is spent',
      { kind: 'permanent', scope: 'organisation' },
      { scope: 'organisation', ms: 600_000 },
    ],
    ['nothing for another permanent refusal', { kind: 'permanent' }, null],
  ])('is %s', (_, over, wish) => {
    expect(wishOf(refused(over))).toEqual(wish);
  });
});
