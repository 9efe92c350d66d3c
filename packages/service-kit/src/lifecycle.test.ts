import { describe, expect, it } from '@jest/globals';
import { createLifecycle, createLogger, withinLimit } from './index.ts';

function createProbe(graceMs = 10_000) {
  const lines: string[] = [];
  const closed: string[] = [];
  const lifecycle = createLifecycle({
    log: createLogger({ service: 'test', write: (line) => lines.push(line) }),
    graceMs,
  });
  const add = (name: string) => lifecycle.add(name, async () => void closed.push(name));
  return { lifecycle, lines, closed, add };
}

describe('createLifecycle', () => {
  it('closes in reverse order, once', async () => {
    const { lifecycle, closed, add } = createProbe();
    for (const name of ['database', 'bus', 'http']) add(name);
    await Promise.all([lifecycle.stop(), lifecycle.stop()]);
    await lifecycle.stop();
    expect(closed).toEqual(['http', 'bus', 'database']);
  });

  it('goes on after one that fails, also at once, and one that never ends', async () => {
    const { lifecycle, closed, lines, add } = createProbe(20);
    add('database');
    lifecycle.add('hanging', () => new Promise(() => undefined));
    lifecycle.add('failing', () => Promise.reject(new Error('no')));
    lifecycle.add('throwing', () => {
      throw new Error('no');
    });
    await lifecycle.stop();
    expect(closed).toEqual(['database']);
    expect(lines.map((line) => (JSON.parse(line) as { name: string }).name)).toEqual([
      'throwing',
      'failing',
      'hanging',
    ]);
  });

  it('closes what is added after the stop began', async () => {
    const { lifecycle, closed, add } = createProbe();
    await lifecycle.stop();
    add('late');
    await lifecycle.stop();
    expect(closed).toEqual(['late']);
  });
});

describe('withinLimit', () => {
  it('passes on results and errors, and gives up at the limit', async () => {
    await expect(withinLimit(Promise.resolve(1), 10_000, 'x')).resolves.toBe(1);
    await expect(withinLimit(Promise.reject(new Error('own')), 10_000, 'x')).rejects.toThrow('own');
    await expect(withinLimit(new Promise(() => undefined), 5, 'x')).rejects.toMatchObject({ code: 'TIMED_OUT' });
  });
});
