import * as fc from 'fast-check';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { CardClicked, InboundReceived } from '@steward/contracts';
import { approvalsRoom, corpId, newClick, people } from '../gate.test-support.ts';
import { recordCardClick } from '../record-card-click.ts';
import { recordInbound } from '../record-inbound.ts';
import { createOutboundReceipts } from '../settle-outbound.ts';
import { buildReceived } from '../testing.ts';
import type { Cluster, KnownRequest } from './cluster.test-support.ts';

export const changingTools = ['restart', 'scale', 'wipe', 'say'] as const;
const { li, han, zhao, wang } = people;
const oneOf = <const T extends readonly (string | number)[]>(...values: T): fc.Arbitrary<T[number]> =>
  fc.constantFrom<T[number]>(...values);
const which = fc.nat({ max: 7 });
const at = fc.nat({ max: 2 });

/** Everything that may happen, by kind, with how often. `which` names a request or delivery by its number, `at` a replica. */
const kinds = {
  ask: [
    3,
    {
      who: oneOf(li, li, li, han, zhao, wang),
      tool: oneOf('scale', 'scale', ...changingTools),
      target: oneOf('web', 'db'),
      room: oneOf('cid-1', 'cid-1', 'cid-2'),
    },
  ],
  read: [1, { who: oneOf(li, wang) }],
  decide: [
    12,
    {
      who: oneOf(han, zhao, han, zhao, han, zhao, li, wang),
      verb: oneOf('approve', 'approve', 'approve', 'deny'),
      which,
      place: oneOf('here', 'here', 'here', 'approvals', 'single', 'elsewhere'),
    },
  ],
  click: [
    8,
    {
      who: oneOf(han, zhao, han, zhao, han, zhao, li, wang),
      verb: oneOf('approve', 'approve', 'approve', 'deny'),
      which,
      twist: oneOf('none', 'none', 'none', 'none', 'none', 'none', 'digest', 'space', 'corp', 'app'),
    },
  ],
  replay: [4, { which, again: fc.boolean() }],
  expire: [1, { which }],
  edit: [1, { tool: oneOf(...changingTools), version: oneOf(0, 1), everywhere: fc.boolean() }],
  preview: [2, {}],
  policy: [
    1,
    { variant: oneOf('shipped', 'shipped', 'comment', 'strict', 'closed', 'broken'), everywhere: fc.boolean() },
  ],
  crash: [3, { statements: fc.integer({ min: 1, max: 60 }), moment: oneOf('before', 'after') }],
  script: [6, { fate: oneOf('hang', 'unknown', 'unknown', 'failed', 'late') }],
  lease: [2, {}],
  freeze: [1, { who: oneOf(han, zhao, li) }],
  unfreeze: [3, { who: oneOf(han, zhao) }],
  cancel: [1, { who: oneOf(li, han, zhao), which }],
  stop: [1, { who: oneOf(li, han), room: oneOf('cid-1', 'cid-2') }],
  glass: [1, { tool: oneOf('restart', 'wipe') }],
  review: [1, { who: oneOf(zhao, han) }],
  settle: [1, { ending: oneOf('accepted', 'failed', 'unknown') }],
  operator: [1, { verb: oneOf('approvals.deny', 'freeze'), which }],
  rest: [3, { ms: fc.integer({ min: 1, max: 40 }) }],
} as const;
type Kinds = typeof kinds;
type Value<A> = A extends fc.Arbitrary<infer V> ? V : never;
/** One thing that happens. */
export type Step = {
  [K in keyof Kinds]: { kind: K; at: number } & { [F in keyof Kinds[K][1]]: Value<Kinds[K][1][F]> };
}[keyof Kinds];

const stepOf = (kind: keyof Kinds) =>
  fc.record(
    { kind: fc.constant(kind), at, ...kinds[kind][1] },
    { noNullPrototype: true },
  ) as unknown as fc.Arbitrary<Step>;
const anyStep = fc.oneof(
  ...(Object.keys(kinds) as (keyof Kinds)[]).map((kind) => ({ weight: kinds[kind][0], arbitrary: stepOf(kind) })),
);

const zero = { at: 0, which: 0 };
const askFor = (tool: 'restart' | 'scale' | 'wipe'): Step => ({
  kind: 'ask',
  at: 1,
  who: li,
  tool,
  target: 'web',
  room: 'cid-1',
});
const vote = (who: typeof han | typeof zhao, verb: 'approve' | 'deny' = 'approve'): Step => ({
  ...{ kind: 'decide', ...zero, who, verb, place: 'approvals' },
});
const script = (fate: 'hang' | 'unknown'): Step => ({ kind: 'script', at: 0, fate });

/** What rarely comes up by chance, with chance all around it: what is added to each burst. */
const stories: readonly (readonly (Step | Step[])[])[] = [
  [],
  // Whoever made the call is alive, and slow: another takes it for dead.
  [script('hang'), askFor('restart'), vote(han), { kind: 'rest', at: 0, ms: 40 }, { kind: 'lease', at: 0 }],
  [script('hang'), askFor('scale'), vote(zhao), { kind: 'rest', at: 0, ms: 40 }, { kind: 'lease', at: 0 }],
  [askFor('restart'), vote(zhao), { kind: 'lease', at: 0 }, { kind: 'lease', at: 0 }],
  [script('unknown'), askFor('scale'), vote(han)],
  [askFor('wipe'), vote(han), vote(zhao), { kind: 'replay', at: 2, which: 0, again: true }],
  [askFor('wipe'), { kind: 'rest', at: 0, ms: 20 }, vote(zhao), vote(han, 'deny')],
  [askFor('restart'), { kind: 'freeze', at: 0, who: zhao }, vote(han), { kind: 'unfreeze', at: 1, who: han }],
  [askFor('restart'), { kind: 'preview', at: 0 }, vote(zhao)],
  [askFor('scale'), { kind: 'edit', at: 0, tool: 'scale', version: 1, everywhere: true }, vote(han)],
  // Whether the clock or the vote comes first is the question: so they come together.
  [askFor('scale'), [vote(han), { kind: 'expire', ...zero }, vote(zhao)], [vote(zhao), { kind: 'expire', ...zero }]],
  [askFor('wipe'), [vote(han), { kind: 'expire', ...zero }, vote(zhao)], [vote(zhao), { kind: 'expire', ...zero }]],
];

/** Bursts of steps that happen at once. */
export type Play = { bursts: Step[][]; isStory: boolean };

/** Chance, mostly with a story among it; somebody always asks first. */
export const anyPlay: fc.Arbitrary<Play> = fc
  .tuple(
    fc.array(stepOf('ask'), { minLength: 1, maxLength: 2 }),
    fc.array(fc.array(anyStep, { minLength: 1, maxLength: 3 }), { minLength: 6, maxLength: 8 }),
    fc.constantFrom(...stories),
  )
  .map(([asks, bursts, story]) => ({
    bursts: [asks, ...bursts.map((burst, at) => burst.concat(story[at] ?? []))],
    isStory: story.length > 0,
  }));

const runOut = async (cluster: Cluster, request: KnownRequest | null) =>
  request === null ? undefined : cluster.runOut(request.id);

/** Does a step to the cluster. What a dead replica does not take is delivered again to another, as the bus does. */
export async function doStep(cluster: Cluster, step: Step): Promise<void> {
  switch (step.kind) {
    case 'ask':
      return say(cluster, step.at, step.who, `/run ${step.tool} service=${step.target}`, step.room);
    case 'read':
      return say(cluster, step.at, step.who, '/run look service=web', 'cid-1');
    case 'decide':
      return decide(cluster, step);
    case 'click':
      return click(cluster, step);
    case 'replay':
      return replay(cluster, step);
    case 'expire':
      return runOut(cluster, await cluster.request(step.which));
    case 'edit':
      return cluster.someOf(step, (replica) => replica.setVersion(step.tool, step.version));
    case 'preview':
      cluster.world.version += 1;
      return;
    case 'policy':
      return cluster.someOf(step, (replica) => replica.setPolicy(step.variant));
    case 'crash':
      return cluster.crash(step);
    case 'script':
      cluster.world.script.push(step.fate);
      return;
    case 'lease':
      await cluster.sql(`update agent_core.turn set lease_until = now() - interval '1 s' where status = 'running'`);
      return;
    case 'freeze':
    case 'unfreeze':
      return say(cluster, step.at, step.who, `/${step.kind} because`, 'cid-1');
    case 'cancel': {
      const request = await cluster.request(step.which);
      return request === null ? undefined : say(cluster, step.at, step.who, `/cancel ${request.code}`, request.room);
    }
    case 'stop':
      return say(cluster, step.at, step.who, '/stop', step.room);
    case 'glass':
      return say(cluster, step.at, li, `/breakglass 10 ${step.tool} fire`, 'cid-1');
    case 'review':
      return say(cluster, step.at, step.who, '/review seen', 'cid-1');
    case 'settle':
      return settle(cluster, step.at, step.ending);
    case 'operator':
      return askAsOperator(cluster, step);
    case 'rest':
      await delay(step.ms);
      return;
    default:
      step satisfies never;
  }
}

async function say(
  cluster: Cluster,
  at: number,
  who: string,
  text: string,
  room: string,
  kind: 'group' | 'single' = 'group',
) {
  const requester = { staffId: who, corpId: kind === 'single' ? null : corpId, nick: who };
  await deliver(cluster, at, buildReceived({ room, kind, text, requester, sequence: cluster.nextSequence(room) }));
}

async function deliver(cluster: Cluster, at: number, message: InboundReceived | CardClicked): Promise<void> {
  cluster.delivered.push(message);
  await redeliver(cluster, at, message);
}

async function redeliver(cluster: Cluster, at: number, message: InboundReceived | CardClicked): Promise<void> {
  await cluster.onSomeReplica(at, async ({ context }) => {
    if (message.type === 'inbound.received.v1') await recordInbound(context, message);
    else await recordCardClick(context, message);
  });
}

async function decide(cluster: Cluster, step: Step & { kind: 'decide' }): Promise<void> {
  const request = await cluster.request(step.which);
  if (request === null) return;
  const room = { here: request.room, approvals: approvalsRoom, elsewhere: 'cid-2', single: `single-${step.who}` }[
    step.place
  ];
  await say(
    cluster,
    step.at,
    step.who,
    `/${step.verb} ${request.code} agreed`,
    room,
    step.place === 'single' ? 'single' : 'group',
  );
}

async function click(cluster: Cluster, step: Step & { kind: 'click' }): Promise<void> {
  const request = await cluster.request(step.which);
  if (request?.card == null) return;
  const { twist } = step;
  const digest = twist === 'digest' ? 'ab'.repeat(32) : request.digest;
  const body = newClick({
    outTrackId: request.card,
    staffId: step.who,
    params: { action: step.verb, digest, reason: 'agreed' },
    ...(twist === 'space' && { spaceId: 'dtv1.card//IM_GROUP.cid-9' }),
    ...(twist === 'corp' && { corpId: 'corp-2' }),
    ...(twist === 'app' && { app: 'app-key-2' }),
  });
  if (twist !== 'none') cluster.forged.add(body.inboundEventId);
  await deliver(cluster, step.at, toClicked(body));
}

const toClicked = (body: CardClicked['body']): CardClicked => ({
  type: 'card.clicked.v1',
  id: newId(),
  correlationId: newId(),
  causationId: body.inboundEventId,
  occurredAt: new Date().toISOString(),
  body,
});

/** The bus delivers again what it delivered; `again` makes a click a new push of the same press. */
async function replay(cluster: Cluster, step: Step & { kind: 'replay' }): Promise<void> {
  const message =
    cluster.delivered[cluster.delivered.length - 1 - (step.which % Math.max(1, cluster.delivered.length))];
  if (message === undefined) return;
  cluster.replays += 1;
  if (message.type === 'card.clicked.v1' && step.again) {
    const inboundEventId = newId();
    if (cluster.forged.has(message.body.inboundEventId)) cluster.forged.add(inboundEventId);
    return deliver(cluster, step.at, toClicked({ ...message.body, inboundEventId }));
  }
  await redeliver(cluster, step.at, message);
}

/** Outbound-sender has done, or given up, what calls asked it for. */
export async function settle(cluster: Cluster, at: number, ending: 'accepted' | 'failed' | 'unknown'): Promise<void> {
  await cluster.noteTold();
  const open = await cluster.sql<{ outbound_message_id: string; correlation_id: string }>(
    `select a.outbound_message_id, c.correlation_id from agent_core.tool_attempt a join agent_core.tool_call c
     on c.id = a.tool_call_id where a.closed_at is null and a.outbound_message_id is not null`,
  );
  for (const { outbound_message_id, correlation_id } of open) {
    const settled = {
      ...{ type: 'outbound.settled.v1' as const, id: newId(), correlationId: correlation_id, causationId: newId() },
      occurredAt: new Date().toISOString(),
      body: { outboundMessageId: outbound_message_id, ending, reason: null, attempts: 1 },
    };
    await cluster.onSomeReplica(at, async ({ context }) => {
      await createOutboundReceipts(context).settle(settled);
    });
  }
}

async function askAsOperator(cluster: Cluster, step: Step & { kind: 'operator' }): Promise<void> {
  const request = await cluster.request(step.which);
  const body =
    step.verb === 'freeze'
      ? { environment: 'test', reason: 'drill' }
      : request && { environment: 'test', corpId, code: request.code, reason: 'not now' };
  if (body === null) return;
  await sql`insert into agent_core.operator_request (id, verb, body, asked_by)
    values (${newId()}, ${step.verb}, ${JSON.stringify(body)}::jsonb, 'root')`.execute(cluster.database.admin);
}
