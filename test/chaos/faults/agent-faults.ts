import { echo, lastUserText } from '../../e2e/fake-model.ts';
import type { Replica } from '../../e2e/service-replicas.ts';
import { people } from '../../e2e/stack-config.ts';
import type { Chaos, Fault } from '../fault.ts';
import { noWitness } from '../fault.ts';
import { askForChange, conversationId, decide, newTicket } from '../load.ts';
import { ask, endLeases, killAll, ownRoom, see, startAll } from './seen.ts';

const governedRoom = (at = 0): string => conversationId(at * 10);

const hasEffect = async ({ stack }: Chaos, ticket: string): Promise<boolean> =>
  (await stack.simulator.control.effects()).some(({ body }) => body['mark'] === ticket);

export const killAfterEffect: Fault = {
  number: 17,
  name: 'SIGKILL of agent-core between the effect and its result',
  allows: ['tool'],
  inject: async (chaos, onHeal) => {
    onHeal(async () => {
      chaos.stack.simulator.control.setFaults({ replyDelayMs: {} });
      await startAll(chaos, chaos.stack.agentCores);
    });
    const path = '/systems/services/search/scale';
    chaos.stack.simulator.control.setFaults({ replyDelayMs: { [path]: 60_000 } });
    const ticket = newTicket(chaos.random);
    const room = governedRoom();
    const code = await askForChange(chaos, { room, text: `/run change service=search mark=${ticket}` });
    if (code === null) throw noWitness('no request was shown');
    await decide(chaos, { room, text: `/approve ${code}` });
    await see('the effect', () => hasEffect(chaos, ticket), 30_000);
    await killAll(chaos.stack.agentCores);
    const open = await chaos.stack.sql(
      `select from agent_core.tool_attempt a join agent_core.tool_call c on c.id = a.tool_call_id
       where c.arguments ->> 'mark' = $1 and a.closed_at is null`,
      [ticket],
    );
    return async () => {
      if (open.length !== 1) throw noWitness('the result was written before the kill');
      return `${ticket} had happened and its attempt was open when both agent-cores died`;
    };
  },
};

const questions = 8;

/**
 * The first process is stopped with turns in hand and resumed while the second one works on them: both then have an answer,
 * and only the second may give it.
 */
export const zombie: Fault = {
  number: 18,
  name: 'SIGSTOP of an agent-core beyond its leases, SIGCONT while another works on its turns',
  allows: ['tool'],
  inject: async (chaos, onHeal) => {
    const [first, second] = chaos.stack.agentCores;
    if (first === undefined || second === undefined) throw noWitness('there are no two agent-cores');
    const [zombies, owners] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
    onHeal(async () => {
      for (const one of [first, second]) one.signal('SIGCONT');
      zombies.resolve(undefined);
      owners.resolve(undefined);
      chaos.model.behave(echo);
    });
    const marks = Array.from(
      { length: questions },
      (_, at) => ask(chaos, { room: ownRoom(at), text: 'please wait' }).mark,
    );
    const held = new Map<string, number>();
    let isFirstAlone = true;
    second.signal('SIGSTOP');
    chaos.model.behave(async (request) => {
      const text = lastUserText(request);
      const mark = marks.find((one) => text.includes(one));
      if (mark === undefined) return echo(request);
      const times = held.get(mark) ?? 0;
      if (isFirstAlone || times > 0) held.set(mark, times + 1);
      if (isFirstAlone) await zombies.promise;
      else if (times > 0) await owners.promise;
      return echo(request);
    });
    await see('turns of the first process to wait for the model', () => held.size >= 2, 30_000);
    const before = await countLost(first);
    first.signal('SIGSTOP');
    isFirstAlone = false;
    second.signal('SIGCONT');
    await endLeases(chaos);
    const taken = await see(
      'the second to take such a turn',
      () => [...held].find(([, times]) => times > 1)?.[0],
      40_000,
    );
    first.signal('SIGCONT');
    zombies.resolve(undefined);
    return async () => {
      const lost = await see(
        'the zombie to lose a turn',
        async () => (await countLost(first)) - before || null,
        30_000,
      );
      const rows = await chaos.stack.sql<{ attempt: number }>(
        `select attempt from agent_core.turn where status = 'running' and inbound -> 'content' ->> 'text' like $1`,
        [`%${taken}%`],
      );
      owners.resolve(undefined);
      if ((rows[0]?.attempt ?? 0) < 2) throw noWitness(`${taken} was not in the hands of its new owner`);
      return `the resumed process lost ${lost} turns while the other one was working on them`;
    };
  },
};

/** How many turns a process worked on in vain, because another one had taken them over. */
async function countLost(replica: Replica): Promise<number> {
  const response = await fetch(`${replica.url}/metrics`, { signal: AbortSignal.timeout(5_000) });
  return Number(/^steward_turn_lost_total(?:\{[^}]*\})? (\d+)/m.exec(await response.text())?.[1] ?? 0);
}

export const twoClaims: Fault = {
  number: 19,
  name: 'two workers claim at the same moment',
  allows: [],
  inject: async (chaos, onHeal) => {
    const unlock = await chaos.stack.lockTable('agent_core.turn');
    onHeal(unlock);
    Array.from({ length: 4 }, () => ask(chaos));
    const pids = await see('claims of several sessions to wait', async () => {
      const rows = await chaos.stack.sql<{ pid: number }>(
        `select l.pid from pg_locks l join pg_stat_activity a using (pid)
         where not l.granted and l.relation = 'agent_core.turn'::regclass and a.usename = 'steward_agent_core'`,
      );
      return rows.length >= 2 ? rows.map(({ pid }) => pid) : null;
    });
    return async () => `${pids.length} sessions of two agent-cores were let at the turns at one moment`;
  },
};

export const contestedApprovals: Fault = {
  number: 20,
  name: 'approvals twice, against each other, and too late',
  allows: [],
  inject: async (chaos) => {
    const since = new Date();
    const rooms = [governedRoom(), governedRoom(1), governedRoom(2)];
    const tickets = rooms.map(() => newTicket(chaos.random));
    const [twice = '', against = '', late = ''] = tickets;
    chaos.contested.add(against);
    chaos.noEffect.add(late);
    const codes: (string | null)[] = [];
    for (const [at, room] of rooms.entries())
      codes.push(await askForChange(chaos, { room, text: `/run change service=payments mark=${tickets[at] ?? ''}` }));
    if (codes.includes(null)) throw noWitness('a request was not shown');
    const [twiceCode, againstCode, lateCode] = codes;
    const say = (at: number, text: string, staffId: string) => decide(chaos, { room: rooms[at] ?? '', text, staffId });
    await expire(chaos, late);
    await Promise.all([
      say(0, `/approve ${twiceCode ?? ''}`, people.han),
      say(0, `/approve ${twiceCode ?? ''}`, people.han),
      say(0, `/approve ${twiceCode ?? ''}`, people.zhao),
      say(0, `/approve ${twiceCode ?? ''}`, people.li),
      say(1, `/approve ${againstCode ?? ''}`, people.han),
      say(1, `/deny ${againstCode ?? ''} no`, people.zhao),
      say(2, `/approve ${lateCode ?? ''}`, people.han),
    ]);
    return async () => {
      await see('the change approved twice', () => hasEffect(chaos, twice), 40_000);
      const refused = await see(
        'decisions to be refused',
        async () =>
          (
            await chaos.stack.sql(`select from audit.entry where occurred_at > $1 and kind = 'approval.refused'`, [
              since,
            ])
          ).length,
      );
      return `7 decisions on 3 requests at once, ${refused} of them refused`;
    };
  },
};

/** The time to decide is over, by the database's clock. */
async function expire({ stack }: Chaos, ticket: string): Promise<void> {
  await stack.sql(`alter table agent_core.approval_request disable trigger user`);
  await stack.sql(
    `update agent_core.approval_request r set approve_by = now() - interval '1 s' from agent_core.tool_call c
     where c.id = r.tool_call_id and c.arguments ->> 'mark' = $1`,
    [ticket],
  );
  await stack.sql(`alter table agent_core.approval_request enable trigger user`);
}
