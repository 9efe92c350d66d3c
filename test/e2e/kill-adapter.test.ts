import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { createTcpProxy, waitUntil, type TcpProxy } from '@steward/testkit';
import { newQuestion, startStack, waitForBlocked, type Stack } from './harness.ts';
import { createReplyHold, type ReplyHold } from './reply-hold.ts';
import type { Replica } from './service-replicas.ts';
import { roomOf } from './stack-config.ts';

jest.setTimeout(120_000);

describe('kill -9 of the adapter', () => {
  let stack: Stack;
  let adapter: Replica;
  let postgres: ReplyHold;
  let rabbit: TcpProxy;
  beforeAll(async () => {
    postgres = await createReplyHold(process.env.DATABASE_URL ?? '');
    rabbit = await createTcpProxy(process.env.AMQP_URL ?? '');
    const proxies = { postgres, rabbit };
    stack = await startStack({
      route: (service, server, url) => (service === 'adapter' ? proxies[server].url(url) : url),
    });
    const [first] = stack.adapters;
    if (first === undefined) throw new Error('no adapter');
    adapter = first;
    // As long as it takes to start again: who was not answered 200 delivers again.
    stack.simulator.control.setFaults({ robotRetryMs: Array.from({ length: 10 }, () => 2_000) });
  });
  afterAll(async () => {
    await stack.stop();
    await Promise.all([postgres.close(), rabbit.close()]);
  });

  let text: string;
  let msgId: string;
  let saying: Promise<unknown>;
  beforeEach(() => {
    text = newQuestion();
    msgId = `msg-${text}`;
  });
  const say = () => (saying = stack.say({ robot: 'http', room: roomOf('http'), text, msgId }));
  const countAcks = async () => {
    const [push] = await stack.simulator.control.sent({ key: msgId });
    return (push?.attempts ?? []).filter(({ outcome }) => outcome === 'acked').length;
  };
  const countRows = async () => {
    const [row] = await stack.sql<{ count: number }>(
      'select count(*)::int from adapter.inbound_event where source_id = $1',
      [msgId],
    );
    return row?.count;
  };
  afterEach(async () => {
    await saying;
    await stack.waitForAnswers({ contains: text });
    expect(await stack.checkNothingLost()).toMatchObject({ lost: 0, duplicated: 0, reordered: 0 });
    expect(await stack.waitForAnswers({ contains: text })).toHaveLength(1);
    expect(await countAcks()).toBe(1);
  });

  it('before the commit: nothing was kept, nothing was acknowledged, the redelivery is answered', async () => {
    const unlock = await stack.lockTable('adapter.inbound_event');
    void say();
    const pids = await waitForBlocked(stack, { table: 'adapter.inbound_event', statement: 'select given_id' });
    await adapter.kill('SIGKILL');
    // The server would finish the statement of a client that is gone; a server that dies too does not.
    await stack.sql('select pg_terminate_backend(pid) from unnest($1::int[]) as pid', [pids]);
    await unlock();
    expect([await countRows(), await countAcks()]).toEqual([0, 0]);
    await adapter.start();
  });

  it('after the commit and before the 200: the redelivery is a duplicate, the answer one', async () => {
    postgres.hold();
    void say();
    await waitUntil(async () => (await countRows()) === 1, { timeoutMs: 10_000, what: 'the commit' });
    await adapter.kill('SIGKILL');
    expect(await countAcks()).toBe(0);
    postgres.release();
    await adapter.start();
    const isRepeated = async () =>
      (await stack.sql('select from adapter.inbound_event where source_id = $1 and duplicate_count > 0', [msgId]))
        .length;
    await waitUntil(isRepeated, { timeoutMs: 30_000, what: 'the redelivery to be counted' });
  });

  it('after the 200 and before the publication: the outbox remembers', async () => {
    rabbit.set('stalled');
    await say();
    expect(await countAcks()).toBe(1);
    await adapter.kill('SIGKILL');
    const kept = await stack.sql(
      `select e.settled_at, o.type, (select count(*)::int from agent_core.turn t where t.inbound_event_id = e.id) as turns
       from adapter.inbound_event e join adapter.outbox o on o.subject_id = e.id where e.source_id = $1`,
      [msgId],
    );
    expect(kept).toEqual([{ settled_at: null, type: 'inbound.received.v1', turns: 0 }]);
    rabbit.cut();
    rabbit.set('passing');
    await adapter.start();
  });
});
