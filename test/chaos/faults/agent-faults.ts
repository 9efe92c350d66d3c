import { echo, lastUserText } from '../../e2e/fake-model.ts';
import { people } from '../../e2e/stack-config.ts';
import type { Chaos, Fault } from '../fault.ts';
import { noWitness } from '../fault.ts';
import { askForChange, conversationId, decide, newTicket } from '../load.ts';
import { ask, countLines, endLeases, killAll, ownRoom, see, startAll } from './seen.ts';

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

const hanging = 6;

export const zombie: Fault = {
  number: 18,
  name: 'SIGSTOP of an agent-core beyond its leases, then SIGCONT',
  allows: ['tool'],
  inject: async (chaos, onHeal) => {
    const [first] = chaos.stack.agentCores;
    if (first === undefined) throw noWitness('there is no agent-core');
    const release = Promise.withResolvers<undefined>();
    onHeal(async () => {
      first.signal('SIGCONT');
      release.resolve(undefined);
      chaos.model.behave(echo);
    });
    const asked = Array.from({ length: hanging }, (_, at) => ask(chaos, { room: ownRoom(at), text: 'please wait' }));
    const heard = new Set<string>();
    chaos.model.behave(async (request) => {
      const text = lastUserText(request);
      const mine = asked.find(({ mark }) => text.includes(mark));
      if (mine !== undefined && !heard.has(mine.mark)) {
        heard.add(mine.mark);
        await release.promise;
      }
      return echo(request);
    });
    await see('the turns to wait for the model', () => heard.size === hanging, 40_000);
    const before = countLines([first], 'turn.lost');
    first.signal('SIGSTOP');
    await endLeases(chaos);
    const isTaken = async () => {
      const [row] = await chaos.stack.sql<{ count: number }>(
        `select count(*)::int as count from agent_core.turn where status in ('done', 'failed') and attempt > 1
         and inbound -> 'content' ->> 'text' like any($1)`,
        [asked.map(({ mark }) => `%${mark}%`)],
      );
      return row?.count;
    };
    const taken = await see('another process to take the turns over', isTaken, 40_000);
    return async () => {
      first.signal('SIGCONT');
      release.resolve(undefined);
      const lost = await see(
        'the zombie to lose its turns',
        () => countLines([first], 'turn.lost') - before || null,
        30_000,
      );
      return `${taken} turns were taken over and ended; the resumed process lost ${lost} and wrote nothing`;
    };
  },
};

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
