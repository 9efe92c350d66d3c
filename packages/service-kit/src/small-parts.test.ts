import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { z } from 'zod';
import { backoffMs, createLoopDelayGuard, createMetrics, newId } from './index.ts';
import { buildUuidV7 } from './new-id.ts';
import { isPrivateHost } from './private-host.ts';

describe('backoffMs', () => {
  it('lies between 0 and the doubled base, never above the cap, for any attempt', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -5, max: 5_000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (attempt, chance) => {
          const waitMs = backoffMs(attempt, { baseMs: 100, capMs: 5_000, random: () => chance });
          expect(Number.isInteger(waitMs)).toBe(true);
          expect(waitMs).toBeGreaterThanOrEqual(0);
          expect(waitMs).toBeLessThan(Math.min(5_000, 100 * 2 ** Math.max(0, attempt - 1)));
        },
      ),
    );
  });

  it('uses the whole range: full jitter', () => {
    const at = (attempt: number, chance: number) =>
      backoffMs(attempt, { baseMs: 100, capMs: 1_000, random: () => chance });
    expect([at(1, 0), at(1, 0.999), at(3, 0.5), at(9, 0.5)]).toEqual([0, 99, 200, 500]);
  });
});

describe('newId', () => {
  it('is a UUID of version 7 that begins with the time and never repeats', () => {
    const before = Date.now();
    const ids = Array.from({ length: 2_000 }, newId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(z.uuidv7().safeParse(id).success).toBe(true);
    const bornMs = Number.parseInt((ids[0] ?? '').replaceAll('-', '').slice(0, 12), 16);
    expect(bornMs).toBeGreaterThanOrEqual(before - 1_000);
    expect(bornMs).toBeLessThanOrEqual(Date.now() + 1_000);
  });

  it('has the layout of the standard where Node brings none (RFC 9562, appendix A.6)', () => {
    const random = Buffer.from('0cc318c4dc0c0c07398f', 'hex');
    expect(buildUuidV7(0x017f22e279b0, random)).toBe('017f22e2-79b0-7cc3-98c4-dc0c0c07398f');
  });
});

describe('isPrivateHost', () => {
  const hostOf = (host: string): string => new URL(`https://${host}/`).hostname;

  it.each(
    `localhost a.localhost 127.0.0.1 127.9.9.9 2130706433 0x7f.1 0177.0.0.1 10.1.2.3 172.16.0.1 172.31.255.255 192.168.1.1
     169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255 [::1] [::] [fe80::1] [fd00::1] [::ffff:127.0.0.1]
     [::ffff:10.0.0.1] [64:ff9b::7f00:1] rabbit db.internal printer.local localhost. dingtalk.lan`.split(/\s+/),
  )('takes %s for this machine or network', (host) => {
    expect(isPrivateHost(hostOf(host))).toBe(true);
  });

  it.each(`oapi.dingtalk.com 8.8.8.8 172.32.0.1 11.0.0.1 [2400:3200::1] localhost.example.com 100.128.0.1`.split(' '))(
    'takes %s for a public host',
    (host) => {
      expect(isPrivateHost(hostOf(host))).toBe(false);
    },
  );
});

describe('createLoopDelayGuard', () => {
  it('sees a blocked event loop and its recovery', async () => {
    const guard = createLoopDelayGuard({ maxDelayMs: 150 });
    expect(guard.isOverloaded()).toBe(false);
    const blocker = setInterval(() => {
      const until = performance.now() + 400;
      while (performance.now() < until);
    }, 1);
    await waitUntil(() => guard.isOverloaded());
    clearInterval(blocker);
    await waitUntil(() => !guard.isOverloaded());
    guard.close();
  });
});

describe('createMetrics', () => {
  it('gives the same metric for the same name, and refuses foreign names and other kinds', async () => {
    const metrics = createMetrics('probe');
    metrics.counter('steward_probe_total', 'Probes', ['kind']).inc({ kind: 'a' });
    metrics.counter('steward_probe_total', 'Probes', ['kind']).inc({ kind: 'a' });
    expect(await metrics.registry.metrics()).toContain('steward_probe_total{kind="a",service="probe"} 2');
    expect(() => metrics.counter('probe_total', 'Probes')).toThrow('steward_');
    expect(() => metrics.gauge('steward_probe_total', 'Probes')).toThrow('another kind');
  });
});

async function waitUntil(condition: () => boolean): Promise<void> {
  const limit = performance.now() + 15_000;
  while (!condition()) {
    if (performance.now() > limit) throw new Error('the condition did not come true within 15 s');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
