import { describe, expect, it } from '@jest/globals';
import { waitUntil } from './wait-until.ts';

describe('waitUntil', () => {
  it('gives the first truthy answer', async () => {
    let asked = 0;
    const answer = await waitUntil(() => (asked++ < 2 ? undefined : `asked ${asked}`), {
      timeoutMs: 5_000,
      what: 'the third answer',
    });
    expect(answer).toBe('asked 3');
  });

  it('takes a condition that throws as not yet', async () => {
    let asked = 0;
    const condition = () => {
      if (asked++ < 2) throw new Error('too early');
      return true;
    };
    await expect(waitUntil(condition, { timeoutMs: 5_000, what: 'calm' })).resolves.toBe(true);
  });

  it('names what it waited for and the last error when time is up', async () => {
    const condition = () => {
      throw new Error('the door is shut');
    };
    const waiting = waitUntil(condition, { timeoutMs: 100, what: 'the door to open' });
    await expect(waiting).rejects.toThrow(/100 ms in vain for the door to open: the door is shut/);
  });

  it('ends in time although the condition hangs', async () => {
    const waiting = waitUntil(() => new Promise<boolean>(() => undefined), { timeoutMs: 100, what: 'nothing' });
    await expect(waiting).rejects.toThrow(/did not answer/);
  });
});
