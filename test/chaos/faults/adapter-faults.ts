import { extraRoom, people } from '../../e2e/stack-config.ts';
import type { Fault } from '../fault.ts';
import { ask, blocked, commitUnheard, countRows, killAll, ownRoom, see, startAll, wasAcked } from './seen.ts';
import { noWitness } from '../fault.ts';

export const killAfterCommit: Fault = {
  number: 1,
  name: 'SIGKILL of the adapters after the commit, before the 200',
  allows: [],
  inject: async (chaos, onHeal) => {
    onHeal(async () => {
      chaos.postgres.adapter.cut();
      chaos.postgres.adapter.set('passing');
      await startAll(chaos, chaos.stack.adapters);
    });
    const msgId = await commitUnheard(chaos, () => chaos.postgres.adapter.set('mute'));
    await killAll(chaos.stack.adapters);
    const acked = await wasAcked(chaos, msgId);
    return async () => {
      if (acked) throw noWitness('it was acknowledged before the kill');
      return `${msgId} was committed and not acknowledged when the adapters died`;
    };
  },
};

export const killBeforeCommit: Fault = {
  number: 2,
  name: 'SIGKILL of the adapters with a half-filled batch',
  allows: [],
  inject: async (chaos, onHeal) => {
    onHeal(() => startAll(chaos, chaos.stack.adapters));
    const unlock = await chaos.stack.lockTable('adapter.inbound_event');
    const asked = Array.from({ length: 5 }, (_, at) => ask(chaos, { room: ownRoom(at) }));
    const pids = await blocked(chaos, 'adapter.inbound_event', 'select given_id');
    await killAll(chaos.stack.adapters);
    // Every session that they left behind: one that came to wait in the meantime would commit as well.
    await chaos.stack.sql(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'steward adapter'`,
    );
    await unlock();
    const rows = await Promise.all(asked.map(({ msgId }) => countRows(chaos, msgId)));
    return async () => {
      if (rows.some((count) => count > 0)) throw noWitness('a part of the batch was committed');
      return `${pids.length} batches were waiting when the adapters died; none was kept or acknowledged`;
    };
  },
};

export const sameCallback: Fault = {
  number: 3,
  name: 'the same callback 50 times at once over two adapters',
  allows: [],
  inject: async (chaos) => {
    const { msgId } = ask(chaos, { times: 50 });
    const read = async () => {
      const [row] = await chaos.stack.sql<{ duplicate_count: number }>(
        'select duplicate_count from adapter.inbound_event where source_id = $1',
        [msgId],
      );
      return row?.duplicate_count === 49;
    };
    return async () => {
      await see('49 duplicates of one row', read, 40_000);
      return `${msgId} is one row with 49 duplicates`;
    };
  },
};

export const alteredBody: Fault = {
  number: 4,
  name: 'the same msgId with another body',
  allows: [],
  inject: async (chaos) => {
    const { msgId, mark, said } = ask(chaos);
    await said;
    await see('the first body', async () => (await countRows(chaos, msgId)) === 1);
    await chaos.stack.say({
      robot: 'http',
      room: ownRoom(),
      staffId: people.li,
      text: `${mark} but other words`,
      msgId,
    });
    const isFound = async () => {
      const rows = await chaos.stack.sql(
        `select from adapter.inbound_event e join audit.entry a on a.subject_id = e.id::text and a.kind = 'inbound.altered'
         where e.source_id = $1 and e.altered_count > 0`,
        [msgId],
      );
      return rows.length > 0;
    };
    return async () => {
      await see('the altered body to be found', isFound);
      return `${msgId} came with another body: counted and audited, the first one stands`;
    };
  },
};

export const lateRedelivery: Fault = {
  number: 5,
  name: 'a redelivery 25 hours later',
  allows: [],
  inject: async (chaos) => {
    const { msgId, said } = ask(chaos);
    await said;
    await see('the row', async () => (await countRows(chaos, msgId)) === 1);
    await chaos.stack.sql(
      `update adapter.inbound_event set first_seen_at = first_seen_at - interval '25 h', last_seen_at = last_seen_at - interval '25 h'
       where source_id = $1`,
      [msgId],
    );
    const [first] = await chaos.stack.simulator.control.sent({ key: msgId });
    const text = String((first?.payload['text'] as { content?: unknown } | undefined)?.content);
    await chaos.stack.say({
      ...{ robot: 'http', room: ownRoom(), staffId: people.li, text, msgId },
      payload: first?.payload ?? {},
    });
    const isDuplicate = async () =>
      (
        await chaos.stack.sql(
          `select from adapter.inbound_event where source_id = $1 and duplicate_count > 0 and altered_count = 0
           and first_seen_at < now() - interval '24 h'`,
          [msgId],
        )
      ).length > 0;
    return async () => {
      await see('the duplicate of a day ago', isDuplicate);
      return `${msgId}, 25 h old, was known again`;
    };
  },
};

const skewMs = 10 * 60_000;

export const disorder: Fault = {
  number: 6,
  name: 'deliveries out of order, and one adapter with a clock 10 minutes ahead',
  allows: [],
  inject: async (chaos, onHeal) => {
    onHeal(async () => {
      chaos.stack.simulator.control.setFaults({ reorderRate: 0 });
      await first?.kill('SIGTERM');
      await first?.start();
    });
    const [first] = chaos.stack.adapters;
    await first?.kill('SIGTERM');
    const skew = `const n=Date.now,D=Date;globalThis.Date=class extends D{constructor(...a){a.length?super(...a):super(n()+${skewMs})}static now(){return n()+${skewMs}}}`;
    await first?.start({ env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(skew)}` } });
    const started = Date.now();
    chaos.stack.simulator.control.setFaults({ reorderRate: 0.5, reorderHoldMs: 600 });
    const asked = Array.from({ length: 10 }, (_, at) => ask(chaos, { room: extraRoom(at * 10 + 2) }));
    return async () => {
      await Promise.all(asked.map(({ said }) => said));
      const skewed = await see('a log line of ten minutes ahead', () => {
        const times = [...(first?.output() ?? '').matchAll(/"(?:time|timestamp)":"([^"]+)"/g)].map(([, time = '']) =>
          Date.parse(time),
        );
        return times.filter((time) => time > started + skewMs - 60_000).length;
      });
      return `${skewed} log lines of one adapter were 10 minutes ahead while half of the deliveries were held back`;
    };
  },
};
