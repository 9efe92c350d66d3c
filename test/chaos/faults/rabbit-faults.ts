import { exchangeOf } from '@steward/contracts';
import type { Chaos, Fault } from '../fault.ts';
import { ask, countLines, ownRoom, see } from './seen.ts';

/** Events that are acknowledged, in the ledger, and not yet with agent-core. */
const countHeld = async ({ stack }: Chaos, msgIds: readonly string[]): Promise<number> => {
  const [row] = await stack.sql<{ count: number }>(
    `select count(*)::int as count from adapter.inbound_event e join adapter.outbox o on o.subject_id = e.id
     where e.source_id = any($1) and e.settled_at is null`,
    [msgIds],
  );
  return row?.count ?? 0;
};

const askMany = (chaos: Chaos, count: number) =>
  Array.from({ length: count }, (_, at) => ask(chaos, { room: ownRoom(at % 3) }));

export const crashRabbit: Fault = {
  number: 11,
  name: 'RabbitMQ SIGKILL in the middle of it',
  allows: [],
  inject: async (chaos, onHeal) => {
    onHeal(async () => {
      await chaos.servers.power.rabbitmq.restart();
      await chaos.broker.tap();
    });
    await chaos.servers.power.rabbitmq.crash();
    const asked = askMany(chaos, 5);
    await Promise.all(asked.map(({ said }) => said));
    const held = await see('events to be kept in the outbox', () =>
      countHeld(
        chaos,
        asked.map(({ msgId }) => msgId),
      ),
    );
    return async () => `RabbitMQ was killed; ${held} acknowledged events waited in the outbox`;
  },
};

export const alarmRabbit: Fault = {
  number: 12,
  name: 'RabbitMQ out of memory: publishers are blocked',
  allows: [],
  inject: async (chaos, onHeal) => {
    onHeal(async () => {
      await chaos.servers.rabbitControl('set_vm_memory_high_watermark', '0.6');
    });
    await chaos.servers.rabbitControl('set_vm_memory_high_watermark', '0.00001');
    await see('the alarm', () => chaos.broker.isAlarmed(), 30_000);
    const asked = askMany(chaos, 5);
    await Promise.all(asked.map(({ said }) => said));
    const held = await see('events to be kept while publishing is blocked', () =>
      countHeld(
        chaos,
        asked.map(({ msgId }) => msgId),
      ),
    );
    return async () => `the memory alarm was on; ${held} acknowledged events waited in the outbox`;
  },
};

export const noConfirms: Fault = {
  number: 13,
  name: 'confirms of RabbitMQ never arrive',
  allows: [],
  inject: async (chaos, onHeal) => {
    onHeal(async () => {
      chaos.rabbit.adapter.cut();
      chaos.rabbit.adapter.set('passing');
    });
    const before = countLines(chaos.stack.adapters, 'outbox.publish.refused', 'bus.link.lost');
    chaos.rabbit.adapter.set('mute');
    await Promise.all(askMany(chaos, 5).map(({ said }) => said));
    // The broker has them (agent-core works on them), and the adapter does not know it: else it takes milliseconds. Which ones is
    // chance, for a relay carries one batch at a time, and the first one never ends.
    const read = async () => {
      const [row] = await chaos.stack.sql<{ count: number }>(
        `select count(*)::int as count from adapter.inbound_event e join agent_core.turn t on t.inbound_event_id = e.id
         where e.settled_at is null and t.created_at between now() - interval '60 s' and now() - interval '3 s'`,
      );
      return row?.count;
    };
    const unconfirmed = await see('turns whose events are unconfirmed', read, 30_000);
    return async () => {
      const givenUp = ['outbox.publish.refused', 'bus.link.lost'];
      await see('the deadline of a confirm', () => countLines(chaos.stack.adapters, ...givenUp) > before, 30_000);
      return `${unconfirmed} events had turns while their publisher heard nothing, beyond its deadline`;
    };
  },
};

export const closedChannel: Fault = {
  number: 14,
  name: 'RabbitMQ closes the channel: the exchange is gone',
  allows: [],
  inject: async (chaos, onHeal) => {
    onHeal(() => chaos.broker.tap());
    const closed = ['bus.link.lost', 'outbox.publish.refused'];
    const before = countLines(chaos.stack.adapters, ...closed);
    await chaos.broker.deleteExchange(exchangeOf('adapter'));
    const asked = askMany(chaos, 5);
    await Promise.all(asked.map(({ said }) => said));
    const isClosed = () => countLines(chaos.stack.adapters, ...closed) > before;
    return async () => {
      await see('the server to close a channel', isClosed);
      return 'channels were closed by the server with messages on them: the exchange did not exist';
    };
  },
};

export const deletedQueue: Fault = {
  number: 15,
  name: 'a queue, its bindings or the whole vhost deleted',
  allows: [],
  inject: async (chaos, onHeal) => {
    onHeal(() => chaos.broker.tap());
    const queue = 'agent-core.inbound.v1';
    const isWhole = chaos.random() < 0.5;
    // The witness reads before anybody can have made it again.
    if (isWhole) await chaos.stack.vhost.wipe();
    else await chaos.broker.deleteQueue(queue);
    askMany(chaos, 5);
    const isBack = async () => (await chaos.stack.vhost.queueLength(queue)) !== undefined;
    return async () => {
      await see('the queue to be made again', isBack, 60_000);
      return `${isWhole ? 'the vhost' : queue} was deleted; the services made their queues again`;
    };
  },
};

export const poison: Fault = {
  number: 16,
  name: 'poison on the bus',
  allows: [],
  inject: async (chaos) => {
    const kept = async () => {
      const [row] = await chaos.stack.sql<{ count: number }>(
        'select count(*)::int as count from agent_core.dead_letter',
      );
      return row?.count ?? 0;
    };
    const before = await kept();
    const bodies = [
      '{"type":"inbound.received.v1"}',
      'not json at all',
      '{"type":"inbound.received.v1","body":{"sequence":-1}}',
    ];
    const routed = await Promise.all(bodies.map((body) => chaos.broker.publish('inbound.received.v1', body)));
    askMany(chaos, 3);
    return async () => {
      const isParked = async () => (await kept()) - before >= routed.filter(Boolean).length;
      await see('poison to be parked', isParked, 40_000);
      return `${routed.filter(Boolean).length} bodies that nobody can read are kept as dead letters`;
    };
  },
};
