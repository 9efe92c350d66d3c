import { describe, expect, it } from '@jest/globals';
import { classifyAnswer } from './classify-answer.ts';

const read = { effect: 'read', repeatable: true } as const;
const write = { effect: 'write', repeatable: false } as const;
const repeatable = { effect: 'destructive', repeatable: true } as const;
const answered = (status: number) => ({ kind: 'answered', status, body: 'why' }) as const;

describe('what an answer means', () => {
  it.each([200, 201, 202, 204, 299])('%i is done, for every tool', (status) => {
    for (const tool of [read, write, repeatable]) expect(classifyAnswer(answered(status), tool).kind).toBe('done');
  });

  it.each([400, 401, 403, 404, 405, 410, 412, 415, 422, 423, 428, 451])(
    '%i has certainly had no effect, and its words are kept',
    (status) => {
      for (const tool of [read, write, repeatable])
        expect(classifyAnswer(answered(status), tool)).toEqual({
          kind: 'failed',
          code: `HTTP_${status}`,
          text: `the system answered ${status}: why`,
        });
    },
  );

  it.each([100, 199, 300, 301, 302, 303, 304, 307, 308, 408, 425, 429, 500, 502, 503, 504, 599, 0, 999])(
    '%i leaves a write unknown, and fails a read',
    (status) => {
      expect(classifyAnswer(answered(status), read).kind).toBe('failed');
      for (const tool of [write, repeatable])
        expect(classifyAnswer(answered(status), tool)).toEqual({ kind: 'unknown', code: `HTTP_${status}` });
    },
  );

  it('409 refuses a call that is made once; of a repeatable one the attempt before may be at work', () => {
    expect(classifyAnswer(answered(409), write).kind).toBe('failed');
    expect(classifyAnswer(answered(409), repeatable)).toEqual({ kind: 'unknown', code: 'HTTP_409' });
  });

  it('no answer leaves a write unknown once something may have been sent, and only then', () => {
    for (const tool of [write, repeatable]) {
      expect(classifyAnswer({ kind: 'unclear', code: 'CALL_TIMEOUT' }, tool)).toEqual({
        kind: 'unknown',
        code: 'CALL_TIMEOUT',
      });
      expect(classifyAnswer({ kind: 'not_sent', code: 'ECONNREFUSED' }, tool)).toMatchObject({ kind: 'failed' });
    }
    expect(classifyAnswer({ kind: 'unclear', code: 'ECONNRESET' }, read)).toMatchObject({
      kind: 'failed',
      code: 'ECONNRESET',
    });
  });

  it('repeats no more than 500 characters of a refusal', () => {
    const result = classifyAnswer({ kind: 'answered', status: 400, body: ` a\n${'好'.repeat(1_000)}` }, write);
    expect(result).toMatchObject({ text: `the system answered 400: a ${'好'.repeat(498)}` });
  });
});
