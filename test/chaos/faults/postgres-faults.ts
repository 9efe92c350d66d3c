import type { Fault } from '../fault.ts';
import { noWitness } from '../fault.ts';
import { ask, blocked, countRefused, commitUnheard, endLeases, see, wasAcked } from './seen.ts';

export const crashPostgres: Fault = {
  number: 7,
  name: 'Postgres SIGKILL under load',
  // Whoever was sending or calling just then cannot write down how it came out.
  allows: ['send', 'tool'],
  inject: async (chaos, onHeal) => {
    onHeal(async () => {
      await chaos.servers.power.postgres.restart();
      await endLeases(chaos);
    });
    const since = Date.now();
    await chaos.servers.power.postgres.crash();
    const refused = await see('deliveries to be refused', () => countRefused(chaos, since));
    return async () => `Postgres was killed; ${refused} deliveries were refused before it was back`;
  },
};

export const starvePostgres: Fault = {
  number: 8,
  name: 'Postgres without a connection to spare, and the ledger locked',
  allows: [],
  inject: async (chaos, onHeal) => {
    const since = Date.now();
    if (chaos.random() < 0.5) {
      onHeal(await chaos.stack.lockTable('adapter.inbound_event'));
      ask(chaos);
      const pids = await blocked(chaos, 'adapter.inbound_event', 'select given_id');
      return async () => {
        const refused = await see('deliveries to be refused', () => countRefused(chaos, since));
        return `${pids.length} statements waited for the locked ledger; ${refused} deliveries were refused meanwhile`;
      };
    }
    onHeal(async () => {
      await chaos.stack.sql('alter role steward_adapter connection limit -1');
    });
    await chaos.stack.sql('alter role steward_adapter connection limit 0');
    await chaos.stack.sql(`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'steward_adapter'`);
    return async () => {
      const refused = await see('deliveries to be refused', () => countRefused(chaos, since));
      return `the adapters got no connection; ${refused} deliveries were refused`;
    };
  },
};

export const cutAfterCommit: Fault = {
  number: 10,
  name: 'a commit whose answer is lost on the wire',
  // A sender that could not write down what came back does not know.
  allows: ['send', 'tool'],
  inject: async (chaos, onHeal) => {
    onHeal(() => endLeases(chaos));
    const wires = Object.values(chaos.postgres);
    const msgId = await commitUnheard(chaos, () => wires.forEach((wire) => wire.set('mute')));
    const acked = await wasAcked(chaos, msgId);
    const cut = wires.reduce((sum, wire) => sum + wire.cut(), 0);
    for (const wire of wires) wire.set('passing');
    return async () => {
      if (acked || cut === 0) throw noWitness('the adapter had its answer');
      const isRepeated = async () =>
        (
          await chaos.stack.sql('select from adapter.inbound_event where source_id = $1 and duplicate_count > 0', [
            msgId,
          ])
        ).length;
      await see('the repeated insert to change nothing', isRepeated, 30_000);
      return `${cut} connections were cut after ${msgId} was committed; its repeat was a duplicate`;
    };
  },
};
