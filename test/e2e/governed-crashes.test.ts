import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { waitUntil } from '@steward/testkit';
import { startStack, waitForBlocked, type Stack } from './harness.ts';
import { approvalsRoom, extraRoom, people, roomOf } from './stack-config.ts';

jest.setTimeout(60_000);
const { li, han, zhao } = people;
const unknownIs = 'nobody knows whether it happened';

/** A write without a preview and without a rate: what many requests at once need. */
const tuneTool = (name: string) => `name: ${name}
description: Sets how many replicas one service has.
effect: write
repeatable: false
environments: [test]
parameters:
  type: object
  additionalProperties: false
  required: [service, replicas]
  properties: { service: { type: string }, replicas: { type: integer, minimum: 0, maximum: 100 } }
request:
  method: POST
  target: systems
  path: /systems/services/{{service}}/scale
  headers: { Authorization: { secret: systems-token, prefix: 'Bearer ' } }
  body: { replicas: '{{replicas}}' }
`;
const tools = { 'tune_kept.yaml': tuneTool('tune_kept'), 'tune_edited.yaml': tuneTool('tune_edited') };
const extraRooms = 4;

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ governed: { tools }, agentCores: 2, extraRooms });
}, 120_000);
afterAll(() => stack.stop());
afterEach(
  () => void stack.simulator.control.setFaults({ replyDelayMs: {}, systemsIdempotency: true, cardSignature: 'good' }),
);

const http = { robot: 'http', room: roomOf('http') };
const say = (staffId: string, text: string, place: { robot: string; room?: string } = http) =>
  stack.say({ ...place, staffId, text });

type Request = { id: string; code: string; status: string; digest: string };
/** The request of the newest call of a tool, once there is one with that status. */
const waitForRequest = (tool: string, status: string): Promise<Request> =>
  waitUntil(
    async () => {
      const [newest] = await stack.sql<Request>(
        `select r.id, r.code, r.status, encode(r.digest, 'hex') as digest from agent_core.approval_request r
         join agent_core.tool_call c on c.id = r.tool_call_id where c.tool = $1 order by r.created_at desc limit 1`,
        [tool],
      );
      return newest?.status === status ? newest : null;
    },
    { timeoutMs: 25_000, what: `a request for ${tool} to be ${status}` },
  );
const waitForCall = (requestId: string, statuses: readonly string[]) =>
  waitUntil(
    async () => {
      const [call] = await stack.sql<{ status: string; code: string | null; attempts: number }>(
        `select c.status, c.code, (select count(*)::int from agent_core.tool_attempt a where a.tool_call_id = c.id) as attempts
         from agent_core.tool_call c join agent_core.approval_request r on r.tool_call_id = c.id where r.id = $1`,
        [requestId],
      );
      return call !== undefined && statuses.includes(call.status) ? call : null;
    },
    { timeoutMs: 30_000, what: `the call to be ${statuses.join(' or ')}` },
  );
const effectsOf = async (service: string, verb: 'restart' | 'scale') =>
  (await stack.simulator.control.effects({ service, verb })).length;

/** kill -9 of every agent-core, and back: what they held is taken over as soon as the leases are over. */
const killAll = () => Promise.all(stack.agentCores.map((replica) => replica.kill('SIGKILL')));
const startAll = async () => {
  await stack.sql(`update agent_core.turn set lease_until = now() where status = 'running'`);
  await Promise.all(stack.agentCores.map((replica) => replica.start()));
};

describe('kill -9 of agent-core', () => {
  it('between decision and call: it resumes, and the call is made once', async () => {
    const unlock = await stack.lockTable('agent_core.tool_budget');
    await say(li, '/run restart_service service=payments');
    const { id, code } = await waitForRequest('restart_service', 'pending');
    await say(han, `/approve ${code}`);
    // Decided, claimed, looked at again, and about to open the attempt.
    await waitForBlocked(stack, { table: 'agent_core.tool_budget', statement: 'insert' });
    expect((await waitForRequest('restart_service', 'approved')).id).toBe(id);
    await killAll();
    await unlock();
    expect(await stack.sql('select 1 from agent_core.tool_attempt')).toEqual([]);
    expect(await effectsOf('payments', 'restart')).toBe(0);
    await startAll();
    expect(await waitForCall(id, ['done'])).toMatchObject({ attempts: 1 });
    expect(await stack.waitForAnswers({ contains: `restart_service: done, approved by ${han}` })).toHaveLength(1);
    await stack.waitUntilQuiet();
    expect(await effectsOf('payments', 'restart')).toBe(1);
    expect(await waitForRequest('restart_service', 'used')).toMatchObject({ id });
  });

  it('during the call: unknown, said in the room and to the approvers, and never made again', async () => {
    const since = await stack.lastLine();
    stack.simulator.control.setFaults({ replyDelayMs: { '/systems/services/search/restart': 40_000 } });
    await say(li, '/run restart_service service=search');
    const { id, code } = await waitForRequest('restart_service', 'pending');
    await say(han, `/approve ${code}`);
    await waitUntil(async () => (await effectsOf('search', 'restart')) === 1, {
      timeoutMs: 20_000,
      what: 'the effect',
    });
    await killAll();
    stack.simulator.control.setFaults({ replyDelayMs: {} });
    await startAll();
    expect(await waitForCall(id, ['unknown'])).toMatchObject({ code: 'PROCESS_DIED', attempts: 1 });
    await stack.waitForAnswers({ contains: unknownIs, since, conversationId: http.room });
    await stack.waitForAnswers({ contains: unknownIs, since, conversationId: approvalsRoom });
    await say(han, `/approve ${code}`);
    await stack.waitForAnswers({ contains: `${code} is closed`, since });
    await stack.waitUntilQuiet();
    expect(await effectsOf('search', 'restart')).toBe(1);
  });

  it('during a repeatable call: it is made again, with the same idempotency key', async () => {
    stack.simulator.control.setFaults({
      replyDelayMs: { '/systems/services/mailer/scale': 40_000 },
      systemsIdempotency: false,
    });
    await say(li, '/run scale_service service=mailer replicas=2');
    const { id, code } = await waitForRequest('scale_service', 'pending');
    await say(zhao, `/approve ${code}`);
    await waitUntil(async () => (await effectsOf('mailer', 'scale')) === 1, { timeoutMs: 20_000, what: 'the effect' });
    await killAll();
    stack.simulator.control.setFaults({ replyDelayMs: {} });
    await startAll();
    expect(await waitForCall(id, ['done'])).toMatchObject({ attempts: 2 });
    const effects = await stack.simulator.control.effects({ service: 'mailer', verb: 'scale' });
    expect(effects).toHaveLength(2);
    expect(new Set(effects.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
  });
});

describe('a policy that changes while a request waits', () => {
  const file = () => path.join(stack.config.policyDir, '20-changes.cedar');
  let shipped = '';
  beforeAll(() => {
    shipped = readFileSync(file(), 'utf8');
  });
  const reload = async (text: string) => {
    writeFileSync(file(), text);
    for (const replica of stack.agentCores) replica.signal('SIGHUP');
  };
  const waitForReadiness = (contains: string) =>
    waitUntil(
      async () => {
        const answers = await Promise.all(stack.agentCores.map((replica) => replica.readiness()));
        return answers.every((answer) => JSON.stringify(answer).includes(contains));
      },
      { timeoutMs: 10_000, what: `readiness to say "${contains}"` },
    );

  it('does not load: the set before it stays in force, /readyz and the audit log say so, and the request runs', async () => {
    await say(li, '/run tune_kept service=payments replicas=7');
    const { id, code } = await waitForRequest('tune_kept', 'pending');
    await reload(`${shipped}\npermit (`);
    await waitForReadiness('the files do not load (POLICY_INVALID)');
    expect(await stack.sql(`select 1 from audit.entry where kind = 'policy.refused'`)).not.toEqual([]);
    await say(han, `/approve ${code}`);
    expect(await waitForCall(id, ['done', 'void', 'failed'])).toMatchObject({ status: 'done' });
  });

  it('is stricter: what was approved under the old one is void, and says why', async () => {
    await say(li, '/run tune_kept service=payments replicas=8');
    const { id, code } = await waitForRequest('tune_kept', 'pending');
    await reload(shipped.replace('@quorum("1")', '@quorum("2")'));
    await waitUntil(
      async () => (await stack.sql(`select 1 from audit.entry where kind = 'policy.activated'`)).length >= 2,
      { timeoutMs: 10_000, what: 'the stricter set to be in force' },
    );
    await say(han, `/approve ${code}`);
    expect(await waitForCall(id, ['done', 'void', 'failed'])).toMatchObject({
      status: 'void',
      code: 'policy_more_approvers',
    });
    expect(await stack.simulator.control.effects({ service: 'payments', verb: 'scale' })).toHaveLength(1);
    await reload(shipped);
    await waitForReadiness('"policy":{"ok":true');
  });
});

describe('approval by card', () => {
  const stream = { robot: 'stream', room: roomOf('stream') };
  const waitForCard = (code: string) =>
    waitUntil(
      () =>
        stack.simulator.control.cards({ conversationId: stream.room }).find(({ params }) => params['code'] === code),
      { timeoutMs: 20_000, what: 'the card' },
    );
  const ask = async (service: string, replicas: number, who: string = li) => {
    await say(who, `/run tune_kept service=${service} replicas=${replicas}`, stream);
    const request = await waitForRequest('tune_kept', 'pending');
    const card = await waitForCard(request.code);
    const params = { action: 'approve', digest: card.params['digest'] };
    return { ...request, card, press: { outTrackId: card.outTrackId, params } };
  };
  const waitForOutcomes = (since: Date, count: number) =>
    waitUntil(
      async () => {
        const clicks = await stack.sql<{ outcome: string }>(
          `select outcome from agent_core.card_click where recorded_at > $1 and decided_at is not null order by recorded_at`,
          [since],
        );
        return clicks.length >= count ? clicks.map(({ outcome }) => outcome) : null;
      },
      { timeoutMs: 20_000, what: `${count} decided clicks` },
    );

  it('runs once however often it is pressed, and the card shows who decided', async () => {
    const since = new Date();
    const { id, digest, card, press } = await ask('search', 11);
    expect(card.params).toMatchObject({ canDecide: 'true', digest });
    await Promise.all([
      stack.simulator.control.click({ ...press, staffId: han, times: 2 }),
      stack.simulator.control.click({ ...press, staffId: han }),
      stack.simulator.control.click({ ...press, staffId: zhao }),
    ]);
    expect(await waitForCall(id, ['done'])).toMatchObject({ attempts: 1 });
    const outcomes = await waitForOutcomes(since, 4);
    expect(outcomes.filter((outcome) => outcome === 'approved')).toHaveLength(1);
    expect(await stack.sql('select staff_id from agent_core.approval_vote where request_id = $1', [id])).toHaveLength(
      1,
    );
    const shown = await waitUntil(
      () => {
        const params = stack.simulator.control.cards({ outTrackId: card.outTrackId })[0]?.params;
        return params?.['canDecide'] === 'false' ? params : null;
      },
      { timeoutMs: 20_000, what: 'the card to be closed' },
    );
    expect(`${shown['status']}\n${shown['body']}`).toMatch(new RegExp(`(${han}|${zhao})`));
    await stack.waitUntilQuiet();
    expect(await effectsOf('search', 'scale')).toBe(1);
  });

  it('is not pressed by its requester, from another space, for another digest, or by somebody who made the click up', async () => {
    const since = new Date();
    const { id, press } = await ask('search', 12, han);
    const { control } = stack.simulator;
    await control.click({ ...press, staffId: han });
    await control.click({ ...press, staffId: zhao, forged: true, room: extraRoom(0) });
    await control.click({ ...press, staffId: zhao, params: { ...press.params, digest: '0'.repeat(64) } });
    await control.click({ ...press, staffId: zhao, forged: true, room: stream.room, corpId: 'corp-elsewhere' });
    await control.click({
      ...press,
      outTrackId: 'no-such-card',
      staffId: zhao,
      forged: true,
      room: stream.room,
      robot: 'stream',
    });
    // Two replicas decide; each click has one outcome, in no order.
    expect((await waitForOutcomes(since, 5)).toSorted()).toEqual([
      'digest',
      'other_space',
      'unknown_card',
      'vote_of_another_corp',
      'vote_of_requester',
    ]);
    // Signed by nobody who knows the key: the door does not let it in.
    control.setFaults({ cardSignature: 'bad' });
    const forged = await control.click({
      ...press,
      staffId: zhao,
      forged: true,
      room: stream.room,
      via: 'http',
      robot: 'stream',
    });
    expect(forged.delivered).toEqual([expect.objectContaining({ outcome: 'refused' })]);
    control.setFaults({ cardSignature: 'good' });
    expect(await stack.sql('select 1 from agent_core.approval_vote where request_id = $1', [id])).toEqual([]);
    expect(await stack.sql('select status from agent_core.approval_request where id = $1', [id])).toEqual([
      { status: 'pending' },
    ]);
    const refused = await stack.sql<{ kind: string }>(
      `select kind from audit.entry where occurred_at > $1 and kind in ('approval.refused', 'card.ignored') order by occurred_at`,
      [since],
    );
    expect(refused).toHaveLength(5);
    await control.click({ ...press, staffId: zhao });
    expect(await waitForCall(id, ['done'])).toMatchObject({ attempts: 1 });
    expect(await effectsOf('search', 'scale')).toBe(2);
  });
});

describe('a rolling upgrade with 100 pending approvals', () => {
  it('loses none, and runs none of those whose tool means something else now', async () => {
    const before = await effectsOf('payments', 'scale');
    const asked = Array.from({ length: 100 }, (_, number) => ({
      tool: number % 2 === 0 ? 'tune_kept' : 'tune_edited',
      replicas: number,
      room: extraRoom(number % extraRooms),
    }));
    for (const { tool, replicas, room } of asked)
      await say(li, `/run ${tool} service=payments replicas=${replicas}`, { robot: 'http', room });
    const read = () =>
      stack.sql<{ code: string; tool: string; status: string; room: string }>(
        `select r.code, c.tool, r.status, r.conversation_id as room from agent_core.approval_request r
         join agent_core.tool_call c on c.id = r.tool_call_id
         where c.arguments ->> 'service' = 'payments' and r.conversation_id like 'cidExtra%' order by r.created_at`,
      );
    const requests = await waitUntil(
      async () => {
        const rows = await read();
        return rows.length === 100 ? rows : null;
      },
      { timeoutMs: 30_000, what: '100 requests' },
    );
    appendFileSync(path.join(stack.config.toolsDir, 'tune_edited.yaml'), 'timeoutMs: 9000\n');
    for (const replica of stack.agentCores) {
      await replica.kill('SIGTERM');
      await replica.start();
    }
    expect((await read()).filter(({ status }) => status !== 'pending')).toEqual([]);
    for (const { code, room } of requests) await say(han, `/approve ${code}`, { robot: 'http', room });
    const ended = await waitUntil(
      async () => {
        const rows = await read();
        return rows.every(({ status }) => status !== 'pending' && status !== 'approved') ? rows : null;
      },
      { timeoutMs: 40_000, what: 'all to end' },
    );
    const count = (tool: string, status: string) =>
      ended.filter((row) => row.tool === tool && row.status === status).length;
    expect([count('tune_kept', 'used'), count('tune_edited', 'void')]).toEqual([50, 50]);
    await stack.waitUntilQuiet();
    expect((await effectsOf('payments', 'scale')) - before).toBe(50);
    await stack.checkSecretsKept();
  });
});
