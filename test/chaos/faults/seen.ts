import { setTimeout as delay } from 'node:timers/promises';
import { waitUntil } from '@steward/testkit';
import { people } from '../../e2e/stack-config.ts';
import { waitForBlocked } from '../../e2e/harness.ts';
import type { Replica } from '../../e2e/service-replicas.ts';
import { conversationId, newMark } from '../load.ts';
import { noWitness, type Chaos } from '../fault.ts';

/** Waits for something to be seen; what was not seen in time was not injected. */
export async function see<T>(what: string, look: () => Promise<T> | T, timeoutMs = 40_000): Promise<NonNullable<T>> {
  const found = await waitUntil(look, { timeoutMs, what }).catch(() => null);
  if (found === null) throw noWitness(what);
  return found;
}

/** A conversation that is not governed, so that a fault may ask there. */
export const ownRoom = (at = 0): string => conversationId(at * 10 + 1);

/** Asks a question of the fault's own and does not wait for its delivery. */
export function ask({ stack, random }: Chaos, o: { room?: string; text?: string; times?: number } = {}) {
  const mark = newMark(random);
  const msgId = `msg-${mark}`;
  const text = o.text === undefined ? mark : `${o.text} ${mark}`;
  const said = stack.say({
    ...{ robot: 'http', room: o.room ?? ownRoom(), staffId: people.li, text, msgId },
    ...(o.times !== undefined && { times: o.times }),
  });
  // A delivery that fails is repeated by the platform; nobody waits for the first one here.
  said.catch(() => undefined);
  return { mark, msgId, said };
}

export const countRows = async ({ stack }: Chaos, msgId: string): Promise<number> =>
  (await stack.sql('select from adapter.inbound_event where source_id = $1', [msgId])).length;

export const wasAcked = async ({ stack }: Chaos, msgId: string): Promise<boolean> =>
  (await stack.simulator.control.sent({ key: msgId })).some(({ attempts }) =>
    attempts.some(({ outcome }) => outcome === 'acked'),
  );

/**
 * Mutes the adapters' database by `mute`, and returns a message that is committed and whose adapter does not hear so. It is any of those who
 * talk just now: each adapter has two batches under way, and no later one is sent.
 */
export async function commitUnheard(chaos: Chaos, mute: () => void): Promise<string> {
  mute();
  const [clock] = await chaos.stack.sql<{ now: Date }>('select clock_timestamp() as now');
  ask(chaos);
  // An answer that was on its way to the platform before has arrived by then.
  await delay(1_000);
  const find = async () => {
    const rows = await chaos.stack.sql<{ msg_id: string }>(
      `select source_id as msg_id from adapter.inbound_event
       where kind = 'robot_message' and first_seen_at > $1::timestamptz - interval '5 s'`,
      [clock?.now],
    );
    for (const { msg_id } of rows) if (!(await wasAcked(chaos, msg_id))) return msg_id;
    return null;
  };
  return see('the commit whose answer was held back', find);
}

/** How many deliveries were answered 503 or not at all since then. */
export const countRefused = async ({ stack }: Chaos, since: number): Promise<number> =>
  (await stack.simulator.control.sent())
    .flatMap(({ attempts }) => attempts)
    .filter(({ at, outcome }) => at >= since && outcome !== 'acked').length;

export const killAll = (replicas: readonly Replica[]) => Promise.all(replicas.map((one) => one.kill('SIGKILL')));

/** Starts them again; what the dead ones held may be taken at once instead of when its lease is over. */
export async function startAll({ stack }: Chaos, replicas: readonly Replica[]): Promise<void> {
  await killAll(replicas);
  await Promise.all(replicas.map((one) => one.start()));
  await endLeases({ stack });
}

export async function endLeases({ stack }: Pick<Chaos, 'stack'>): Promise<void> {
  await stack.sql(`update agent_core.turn set lease_until = now() - interval '1 s' where status = 'running'`);
  await stack.sql(
    `update outbound_sender.outbound_message set lease_until = now() - interval '1 s' where status = 'sending'`,
  );
}

export const blocked = (chaos: Chaos, table: string, statement: string): Promise<number[]> =>
  see(`a session to wait for ${table}`, () => waitForBlocked(chaos.stack, { table, statement }), 25_000);

/** How many log lines of these processes name the event: a witness compares before and after. */
export const countLines = (replicas: readonly Replica[], ...events: readonly string[]): number =>
  replicas.reduce(
    (sum, one) => sum + events.reduce((lines, event) => lines + one.output().split(`"event":"${event}"`).length - 1, 0),
    0,
  );
