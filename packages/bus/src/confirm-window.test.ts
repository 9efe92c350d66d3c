import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { waitUntil } from '@steward/testkit';
import { type Outgoing, createConfirmWindow, windowSize } from './confirm-window.ts';

type Confirm = (error: unknown, ok: object) => void;

/** A channel that confirms only when told to. */
class FakeChannel extends EventEmitter {
  confirms: Confirm[] = [];
  answer = true;
  publish(_exchange: string, _key: string, _body: Buffer, _options?: unknown, confirm?: Confirm) {
    if (confirm) this.confirms.push(confirm);
    return this.answer;
  }
  confirmAll(): void {
    for (const confirm of this.confirms.splice(0)) confirm(null, {});
  }
}

const outgoing = (count: number): Outgoing[] =>
  Array.from({ length: count }, () => ({ exchange: 'x', routingKey: 'k', body: Buffer.from('{}'), properties: {} }));

function open() {
  const channel = new FakeChannel();
  let silences = 0;
  const window = createConfirmWindow({ channel, onSilence: () => (silences += 1) });
  return { channel, window, silences: () => silences };
}

describe('createConfirmWindow', () => {
  it('has at most a hundred unconfirmed, and refills as they are confirmed', async () => {
    const { channel, window } = open();
    const sent = window.send(outgoing(250), 10_000);
    expect(channel.confirms).toHaveLength(windowSize);
    channel.confirms.shift()?.(null, {});
    expect(channel.confirms).toHaveLength(windowSize);
    await waitUntil(() => (channel.confirmAll(), channel.confirms.length === 0), {
      timeoutMs: 5_000,
      what: 'the rest',
    });
    expect(new Set(await sent)).toEqual(new Set(['confirmed']));
  });

  it('shares the window between callers', async () => {
    const { channel, window } = open();
    const sent = [window.send(outgoing(80), 10_000), window.send(outgoing(80), 10_000)];
    expect(channel.confirms).toHaveLength(windowSize);
    channel.confirmAll();
    channel.confirmAll();
    expect((await Promise.all(sent)).map((outcomes) => outcomes.length)).toEqual([80, 80]);
  });

  it('stops writing until drain when the channel says it has enough', async () => {
    const { channel, window } = open();
    channel.answer = false;
    const sent = window.send(outgoing(2), 10_000);
    expect(channel.confirms).toHaveLength(1);
    channel.confirmAll();
    expect(channel.confirms).toHaveLength(0);
    channel.emit('drain');
    channel.confirmAll();
    expect(await sent).toEqual(['confirmed', 'confirmed']);
  });

  it('reports silence when a confirm is overdue, and keeps its slot taken', async () => {
    const { channel, window, silences } = open();
    expect(await window.send(outgoing(2), 5)).toEqual(['failed', 'failed']);
    expect(silences()).toBe(1);
    const sent = window.send(outgoing(windowSize), 10_000);
    expect(channel.confirms).toHaveLength(windowSize);
    channel.confirmAll();
    channel.confirmAll();
    expect(await sent).toHaveLength(windowSize);
  });

  it('fails at once while blocked, lets the overdue be, and goes on when unblocked', async () => {
    const { channel, window, silences } = open();
    const overdue = window.send(outgoing(windowSize + 1), 50);
    window.setBlocked(true);
    expect(await window.send(outgoing(1), 10_000)).toEqual(['failed']);
    expect(new Set(await overdue)).toEqual(new Set(['failed']));
    expect(silences()).toBe(0);
    window.setBlocked(false);
    channel.confirmAll();
    const sent = window.send(outgoing(1), 10_000);
    channel.confirmAll();
    expect(await sent).toEqual(['confirmed']);
  });

  it('fails what waits when the channel closes', async () => {
    const { channel, window } = open();
    const sent = window.send(outgoing(windowSize + 5), 10_000);
    channel.emit('close');
    for (const confirm of channel.confirms.splice(0)) confirm(new Error('channel closed'), {});
    expect(new Set(await sent)).toEqual(new Set(['failed']));
    expect(await window.send(outgoing(1), 10_000)).toEqual(['failed']);
  });
});
