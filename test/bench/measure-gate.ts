import { createPostgres, type Db } from '@steward/postgres';
import { judge, loadPolicy } from '@steward/governance';
import { newId } from '@steward/service-kit';
import { claimTurn } from '../../services/agent-core/src/claim-turn.ts';
import type { AgentTables } from '../../services/agent-core/src/database.ts';
import {
  buildTools,
  createFakeSystem,
  openTestGate,
  people,
  policyFolder,
} from '../../services/agent-core/src/gate.test-support.ts';
import { principalOf, type GatedTurn } from '../../services/agent-core/src/gate/gate-context.ts';
import { toJudgeInput } from '../../services/agent-core/src/gate/propose-call.ts';
import { runCalls } from '../../services/agent-core/src/gate/run-calls.ts';
import { judgeAccess } from '../../services/agent-core/src/judge-access.ts';
import { recordInbound } from '../../services/agent-core/src/record-inbound.ts';
import type { TurnContext } from '../../services/agent-core/src/run-turn.ts';
import { buildReceived, everyLane, silentLog } from '../../services/agent-core/src/testing.ts';
import type { BenchServers } from './bench-servers.ts';
import { median, percentile } from './statistics.ts';

export type GateRound = { judgeMs: number; commitMs: number; readMs: number; askMs: number };
export type GateFigures = {
  rounds: GateRound[];
  callsEach: number;
  /** Medians over the rounds; `readP99Ms` is of all calls of all rounds. */
  judgeMs: number;
  commitMs: number;
  readMs: number;
  readP99Ms: number;
  askMs: number;
  /** A read through the gate in units of the yardstick: one transaction that inserts one row. */
  readInCommits: number;
};

const callsEach = 200;

/**
 * What the gate adds to a call of a tool that does nothing, one after the other: the verdict alone; a read from proposal to
 * result (verdict, attempt, result: three transactions, each with its audit entry); a write up to its request. Beside it, in
 * each round, a transaction that inserts one row: what a commit costs on this machine at that moment.
 */
export async function measureGate(o: {
  servers: BenchServers;
  rounds: number;
  say: (line: string) => void;
}): Promise<GateFigures> {
  const url = o.servers.database.url('steward_agent_core');
  const database = createPostgres<AgentTables>({ url, schema: 'agent_core', poolSize: 4, log: silentLog });
  const { db } = database;
  try {
    const tools = buildTools(createFakeSystem());
    const definitions = [...tools.values()].map(({ definition }) => definition);
    const context = await openTestGate(db, {
      tools,
      load: () => loadPolicy({ folder: policyFolder, tools: definitions }),
    });
    const gated = await openTurn(context);
    const reads: number[] = [];
    const rounds: GateRound[] = [];
    let step = 0;
    for (let number = 1; number <= o.rounds; number += 1) {
      const commitMs = median(await repeat(() => commitOne(db)));
      const judgeMs = await timeJudge(context, gated);
      const read = await repeat(() => call(context, gated, (step += 1), 'look'));
      reads.push(...read);
      const askMs = median(await repeat(() => call(context, gated, (step += 1), 'restart')));
      rounds.push({ judgeMs, commitMs, readMs: median(read), askMs });
      o.say(
        `round ${number}: verdict ${judgeMs.toFixed(2)} ms, commit ${commitMs.toFixed(2)} ms, read ${median(read).toFixed(1)} ms, ask ${askMs.toFixed(1)} ms`,
      );
    }
    const over = (key: keyof GateRound) => median(rounds.map((round) => round[key]));
    return {
      rounds,
      callsEach,
      judgeMs: over('judgeMs'),
      commitMs: over('commitMs'),
      readMs: over('readMs'),
      readP99Ms: percentile(reads, 0.99),
      askMs: over('askMs'),
      readInCommits: median(rounds.map(({ readMs, commitMs }) => readMs / commitMs)),
    };
  } finally {
    await database.close();
  }
}

async function repeat(work: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let number = 0; number < callsEach; number += 1) {
    const startedAt = performance.now();
    await work();
    times.push(performance.now() - startedAt);
  }
  return times;
}

/** A turn that stays open: every call of the bench is a step of it. */
async function openTurn(context: TurnContext): Promise<GatedTurn> {
  const requester = { staffId: people.li, corpId: 'corp-1', nick: 'Li' };
  await recordInbound({ db: context.db, now: context.now }, buildReceived({ text: 'bench', requester }));
  const turn = await claimTurn(context.db, everyLane);
  if (turn === null) throw new Error('nothing was claimed');
  const access = judgeAccess(context.directory, turn.inbound);
  if (access.verdict === 'deny') throw new Error(access.reason);
  return { turn, access, principal: await principalOf(context, turn) };
}

async function commitOne(db: Db<AgentTables>): Promise<void> {
  await db.transaction().execute((trx) => trx.insertInto('inbox').values({ message_id: newId() }).execute());
}

/** The verdict alone, with everything that a policy can look at made ready each time. */
async function timeJudge(context: TurnContext, gated: GatedTurn): Promise<number> {
  const tool = context.tools.get('look');
  if (tool === undefined) throw new Error('there is no such tool');
  return median(
    await repeat(async () =>
      judge(context.policy.current(), await toJudgeInput(context, gated, tool, { service: 'web' })),
    ),
  );
}

/** Every request is for another thing, and the room's cap is made room for. */
async function call(context: TurnContext, gated: GatedTurn, step: number, tool: string): Promise<void> {
  const roomy = {
    ...context,
    governance: { ...context.governance, maxPendingPerRequester: 1e6, maxPendingPerRoom: 1e6 },
  };
  const proposed = { modelCallId: null, tool, arguments: { service: `web-${step}` }, proposedBy: 'person' as const };
  await runCalls(roomy, gated, { step, calls: [proposed], signal: new AbortController().signal });
}
