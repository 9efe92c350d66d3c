import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { newQuestion, startStack, type Stack } from './harness.ts';
import { roomOf } from './stack-config.ts';

jest.setTimeout(120_000);

describe('the same message 100 times at once over two adapters', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ adapters: 2 });
  });
  afterAll(() => stack.stop());

  const countRecorded = (output: string) => output.split('"inbound.recorded"').length - 1;

  it('is acknowledged 100 times and answered once', async () => {
    const text = newQuestion();
    const { msgId, delivered } = await stack.say({ robot: 'http', room: roomOf('http'), text, times: 100 });
    expect(delivered).toEqual(Array.from({ length: 100 }, () => ({ via: 'http', outcome: 'acked', status: 200 })));
    // The witness: both adapters had their share.
    const shares = stack.adapters.map((adapter) => countRecorded(adapter.output()));
    expect(shares.every((share) => share >= 20)).toBe(true);

    expect(await stack.waitForAnswers({ contains: text })).toHaveLength(1);
    await stack.waitUntilQuiet();
    const ledger = await stack.sql(
      'select duplicate_count, altered_count, sequence::int from adapter.inbound_event where source_id = $1',
      [msgId],
    );
    expect(ledger).toEqual([{ duplicate_count: 99, altered_count: 0, sequence: 1 }]);
    expect(await stack.sql(`select count(*)::int as turns from agent_core.turn`)).toEqual([{ turns: 1 }]);
    expect(await stack.sql(`select count(*)::int as sends from outbound_sender.delivery_attempt`)).toEqual([
      { sends: 1 },
    ]);
    expect(await stack.checkNothingLost()).toEqual({ acknowledged: 1, lost: 0, duplicated: 0, reordered: 0 });
  });

  it('is one message also when it comes again through the Stream', async () => {
    const text = newQuestion();
    const { msgId } = await stack.say({ robot: 'both', room: roomOf('both'), text, via: 'http' });
    await stack.say({ robot: 'both', room: roomOf('both'), text, msgId, via: 'stream', times: 5 });
    await stack.waitForAnswers({ contains: text });
    await stack.waitUntilQuiet();
    const ledger = await stack.sql('select door, duplicate_count from adapter.inbound_event where source_id = $1', [
      msgId,
    ]);
    expect(ledger).toEqual([{ door: 'http', duplicate_count: 5 }]);
    expect(await stack.waitForAnswers({ contains: text })).toHaveLength(1);
  });
});
