import { describe, expect, it } from '@jest/globals';
import { createLogger, createMetrics } from '@steward/service-kit';
import { createSignatureWatch, type SignedUse } from './watch-signatures.ts';

function start() {
  const lines: string[] = [];
  const audited: unknown[] = [];
  const metrics = createMetrics('test');
  const clock = { nowMs: 1_000_000 };
  const watch = createSignatureWatch({
    metrics,
    log: createLogger({ service: 'test', write: (line) => lines.push(line) }),
    audit: (finding) => {
      audited.push(finding);
      return Promise.reject(new Error('the database is away'));
    },
    now: () => new Date(clock.nowMs),
  });
  const note = (over: Partial<SignedUse>) =>
    watch.note({ robot: 'ops', timestamp: '1', sign: 'c4nary', msgId: 'm1', createdAt: '1', ...over });
  const counted = async () =>
    (await metrics.counter('steward_door_signature_reused_total', '', ['robot']).get()).values.reduce(
      (sum, { value }) => sum + value,
      0,
    );
  return { note, counted, lines, audited, clock };
}

describe('a signature', () => {
  it('may prove a message again and again, and two messages of one moment', async () => {
    const { note, counted, clock } = start();
    note({});
    note({ msgId: 'm2', createdAt: '2' });
    clock.nowMs += 3_000_000;
    note({});
    expect(await counted()).toBe(0);
  });

  it('that proves three messages is counted each time, and told once in ten seconds without being shown', async () => {
    const { note, counted, lines, audited, clock } = start();
    for (let n = 1; n <= 10; n += 1) note({ msgId: `m${n}` });
    expect(await counted()).toBe(8);
    expect(audited).toEqual([{ robot: 'ops', msgId: 'm3', count: 1 }]);
    clock.nowMs += 10_000;
    note({ msgId: 'm11' });
    expect(audited[1]).toEqual({ robot: 'ops', msgId: 'm11', count: 8 });
    expect(lines.filter((line) => line.includes('security.signature.reused'))).toHaveLength(2);
    expect(lines.join()).not.toContain('c4nary');
  });

  it('that proves a message of another moment later is counted', async () => {
    const { note, counted, clock } = start();
    note({});
    clock.nowMs += 5_001;
    note({ msgId: 'm2', createdAt: '2' });
    expect(await counted()).toBe(1);
  });

  it('is remembered among the last 10,000', async () => {
    const { note, counted } = start();
    note({ msgId: 'a' });
    for (let n = 0; n < 10_000; n += 1) note({ timestamp: `other ${n}` });
    note({ msgId: 'b' });
    note({ msgId: 'c' });
    expect(await counted()).toBe(0);
    for (let n = 0; n < 9_999; n += 1) note({ timestamp: `other ${n}` });
    note({ msgId: 'd' });
    expect(await counted()).toBe(1);
  });
});
