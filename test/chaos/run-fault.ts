import { setTimeout as delay } from 'node:timers/promises';
import { readPublicKeys } from '@steward/audit';
import {
  checkRun,
  readAudit,
  readLedger,
  readSimulator,
  readStoredTexts,
  type CollectedText,
  type RateLimit,
  type RunReport,
  type UnknownAllowance,
} from '@steward/testkit';
import { approvalsRoom } from '../e2e/stack-config.ts';
import { roomsFor } from './chaos-stack.ts';
import { listCanaries } from './canaries.ts';
import type { Chaos, Fault, Witness } from './fault.ts';
import { endLeases } from './faults/seen.ts';
import { conversationId, isGoverned, runLoad } from './load.ts';
import { createRandom } from '../random.ts';

/** What came of one run: `not injected` and `violated` are failures. */
export type FaultResult = {
  faults: readonly Fault[];
  seed: number;
  verdict: 'kept' | 'violated' | 'not injected';
  seen: string;
  report: RunReport | null;
  durationMs: number;
};

export type Campaign = {
  chaos: Chaos;
  conversations: number;
  spreadMs: number;
  /** Of all runs so far: the checker looks at everything since the servers started. */
  allowances: UnknownAllowance[];
  /** What the check before has covered: texts until then, blocks of the audit log up to there. */
  checked: { until: Date; block: number };
};

const quietLimitMs = 120_000;

/** Injects one fault, or several at once, under load; waits until all is done; then checks everything. Never rejects. */
export async function runFault(campaign: Campaign, faults: readonly Fault[], seed: number): Promise<FaultResult> {
  const started = Date.now();
  const chaos: Chaos = Object.assign(campaign.chaos, { random: createRandom(seed * 1_000 + (faults[0]?.number ?? 0)) });
  const load = runLoad(chaos, campaign);
  const { seen, isInjected } = await injectAll(campaign, faults);
  await load;
  const left = await settle(chaos);
  const report = await check(campaign);
  const isKept = report.isGood && left === '';
  return {
    ...{ faults, seed, report, seen: left === '' ? seen : `${seen}; ${left}` },
    verdict: !isInjected ? 'not injected' : isKept ? 'kept' : 'violated',
    durationMs: Date.now() - started,
  };
}

async function injectAll({ chaos, allowances, spreadMs }: Campaign, faults: readonly Fault[]) {
  await delay(spreadMs * (0.2 + 0.2 * chaos.random()));
  const since = Date.now();
  const witnesses: Witness[] = [];
  const heals: (() => Promise<void>)[] = [];
  const seen: string[] = [];
  let isInjected = true;
  const note = (error: unknown) => {
    isInjected = false;
    seen.push(error instanceof Error ? error.message : String(error));
  };
  for (const fault of faults)
    await fault.inject(chaos, (heal) => heals.unshift(heal)).then((witness) => void witnesses.push(witness), note);
  // Some faults are seen only once they are over: nobody waits longer than this before mending.
  const looking = witnesses.map((witness) => witness().then((text) => void seen.push(text), note));
  await Promise.race([Promise.all(looking), delay(15_000)]);
  for (const heal of heals) await heal().catch(note);
  await Promise.all(looking);
  await restore(chaos);
  const until = Date.now();
  for (const fault of faults)
    for (const kind of fault.allows) allowances.push({ fault: String(fault.number), kind, since, until });
  return { seen: seen.join('; '), isInjected };
}

/** Whatever a fault that failed half-way left behind must not be blamed on the next one. */
async function restore({ postgres, rabbit, api, stack }: Chaos): Promise<void> {
  for (const wire of [...Object.values(postgres), ...Object.values(rabbit), api]) {
    wire.set('passing');
    wire.setLatencyMs(0);
  }
  stack.simulator.control.setFaults({ replyDelayMs: {}, failNext: [], loseResponses: [], reorderRate: 0 });
  const replicas = [...stack.adapters, ...stack.agentCores, ...stack.outboundSenders];
  for (const replica of replicas) replica.signal('SIGCONT');
  await Promise.all(replicas.map((replica) => replica.waitUntilReady().catch(() => undefined)));
}

/** Waits until no work is left; empty when that came. */
async function settle(chaos: Chaos): Promise<string> {
  const { stack } = chaos;
  let isOver = false;
  const hurried = hurry(chaos, () => isOver);
  const left = await stack.waitUntilQuiet({ timeoutMs: quietLimitMs }).then(
    () => '',
    (error: unknown) => String(error),
  );
  isOver = true;
  await hurried;
  // Two blocks of the sealer, so that all of it is sealed.
  await delay(2_500);
  return left;
}

/** Back-offs and holds of minutes would make a campaign take hours: what waits is due after a few seconds. */
async function hurry({ stack }: Chaos, isOver: () => boolean): Promise<void> {
  for (let round = 1; !isOver(); round += 1) {
    await delay(1_000);
    if (round % 5 !== 0) continue;
    for (const schema of ['adapter', 'agent_core', 'outbound_sender'])
      await stack.sql(
        `update ${schema}.outbox set next_publish_at = now()
         where publish_count > 0 and created_at < now() - interval '5 s' and next_publish_at > now() + interval '3 s'`,
      );
    await stack.sql(
      `update outbound_sender.outbound_message set next_attempt_at = now()
       where status = 'queued' and next_attempt_at > now() + interval '3 s'`,
    );
    await stack.sql(
      `update outbound_sender.send_budget set held_until = null, held_reason = null where held_until > now() + interval '3 s'`,
    );
    if (round === 20) await endLeases({ stack });
  }
}

/** No limit of the platform may be passed, whatever storms: 10,000 calls of one address in 20 s ban it. */
const limits: readonly RateLimit[] = [
  { name: 'calls of one address', windowMs: 20_000, max: 10_000, matches: () => true },
  {
    ...{ name: 'sends of robot http in a minute', windowMs: 60_000, max: 60_001 },
    matches: ({ path }) => path === '/robot/sendBySession' || path.startsWith('/v1.0/robot/'),
  },
];

/** What Steward says unasked in any room. */
const notices: readonly RegExp[] = [
  /^My link to DingTalk was down/,
  /^I have \d+ of your requests waiting/,
  /^Several requests in a row failed here/,
  // Half of the time to decide is over, in a campaign that takes longer than that.
  /^[2-9A-Z]{4} \(.*\) still waits for a decision, until /,
];

async function check(campaign: Campaign): Promise<RunReport> {
  const { chaos, conversations, allowances, checked } = campaign;
  const { stack, broker } = chaos;
  const now = new Date();
  const tapped = await broker.readTap();
  const publicKeys = readPublicKeys(stack.sealKey.publicPem);
  const [simulator, ledger, audit, stored, canaries] = await Promise.all([
    readSimulator(stack.simulator.control),
    readLedger(stack.sql),
    readAudit(stack.sql, { publicKeys, from: checked.block + 1 }),
    readStoredTexts(stack.sql, checked.until),
    listCanaries(chaos),
  ]);
  const replicas = [...stack.adapters, ...stack.agentCores, ...stack.outboundSenders, ...stack.sealers];
  const logs = replicas.map((replica) => ({ place: 'log', text: newLines(replica.output(), checked.until) }));
  campaign.checked = { until: now, block: audit.newestBlock };
  const texts: CollectedText[] = [
    ...stored,
    ...logs,
    { place: 'queue', text: tapped.join('\n') },
    {
      place: 'reply',
      text: simulator.lines
        .filter(({ from }) => from.kind !== 'person')
        .map(({ text }) => text)
        .join('\n'),
    },
  ];
  const governed = Array.from({ length: roomsFor(conversations) }, (_, at) => at)
    .filter(isGoverned)
    .map(conversationId);
  const { noEffect, contested } = chaos;
  const rules = { noEffect, contested, notices, limits, allowances, canaries };
  return checkRun(
    { simulator, ledger, audit, texts },
    { governedRooms: new Set([...governed, approvalsRoom]), ...rules },
  );
}

/** The lines after the last one that was written before then; what is not a log line (a crash) has no time of its own. */
function newLines(output: string, since: Date): string {
  const lines = output.split('\n');
  const timeOf = (line: string) => Date.parse(/^\{"time":"([^"]+)"/.exec(line)?.[1] ?? '');
  const last = lines.findLastIndex((line) => timeOf(line) < since.getTime());
  return lines.slice(last + 1).join('\n');
}
