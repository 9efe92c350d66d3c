import { beforeEach, describe, expect, it } from '@jest/globals';
import request from 'supertest';
import { addErrorRoutes, createHttpApp, createMetrics } from '@steward/service-kit';
import { inboundReceivedSchema } from '@steward/contracts';
import { signRobotCallback } from '@steward/dingtalk';
import { addHttpDoors } from './http-doors.ts';
import type { NewInbound } from './record-inbound.ts';
import { buildPayload, buildRobot, replyKeys, silentLog } from './testing.ts';
import { createSignatureWatch } from './watch-signatures.ts';

/*
 * Somebody has one signed request of the platform: from a proxy's log, or a debugger. DingTalk's signature covers its clock and
 * the app's secret, and no byte of the body: for an hour such headers prove any body, with any sender in it. What protects is
 * TLS up to the door and that no header is ever logged; what notices it is the watch over signatures. These tests hold what the
 * doors do about it, and what they cannot do.
 */

let recorded: NewInbound[] = [];
let findings: { robot: string; count: number }[] = [];
let nowMs = 0;
let app: ReturnType<typeof createApp>;
beforeEach(() => {
  recorded = [];
  findings = [];
  nowMs = 1_800_000_000_000;
  app = createApp();
});

function createApp() {
  const metrics = createMetrics('test');
  const now = () => new Date(nowMs);
  const created = createHttpApp({ log: silentLog, metrics, readiness: () => Promise.resolve({}) });
  const known = new Set<string>();
  addHttpDoors(created, {
    recorder: {
      record: (inbound) => {
        // The ledger's own key: one message of one robot is one event, whatever body comes with it.
        const key = `${inbound.source} ${inbound.sourceId ?? inbound.id}`;
        const duplicate = known.has(key);
        known.add(key);
        if (!duplicate) recorded.push(inbound);
        return Promise.resolve({ inboundEventId: inbound.id, duplicate });
      },
      pending: () => 0,
    },
    replyKeys,
    log: silentLog,
    now,
    clickNote: () => 'received',
    robots: [buildRobot(), buildRobot({ name: 'second', code: 'dingsecond', appKey: 'key-2', appSecret: 'secret-2' })],
    rejections: {
      count: () => undefined,
      loop: { start: () => undefined, wake: () => undefined, stop: () => Promise.resolve() },
    },
    signatures: createSignatureWatch({
      metrics,
      log: silentLog,
      audit: (finding) => {
        findings.push(finding);
        return Promise.resolve();
      },
      now,
    }),
    isOverloaded: () => false,
    requestsPerMinute: 10_000,
  });
  addErrorRoutes(created, silentLog);
  return created;
}

/** The headers of an honest request that somebody saw. */
const capture = () => {
  const timestamp = String(nowMs);
  return { timestamp, sign: signRobotCallback({ timestamp, appSecret: buildRobot().appSecret }) };
};
const replay = async (
  headers: Record<string, string>,
  body: Record<string, unknown>,
  robot = 'ops',
): Promise<number> => {
  const { status } = await request(app)
    .post(`/dingtalk/robot/${robot}`)
    .set({ 'content-type': 'application/json', ...headers })
    .send(JSON.stringify(buildPayload({ createAt: nowMs, ...body })));
  return status;
};
const senders = () => recorded.map(({ staffId }) => staffId);

describe('captured headers of a robot message', () => {
  it('do not put other words under a message that was delivered already', async () => {
    const headers = capture();
    await replay(headers, { msgId: 'm1', text: { content: '/pending' } });
    expect(await replay(headers, { msgId: 'm1', text: { content: '/approve 7F3K' } })).toBe(200);
    expect(recorded).toHaveLength(1);
  });

  it('prove another body with another sender: the door cannot tell, so it counts and reports from the third message on', async () => {
    const headers = capture();
    for (const [at, senderStaffId] of ['victim', 'approver', 'lead'].entries())
      expect(await replay(headers, { msgId: `m${at}`, senderStaffId, text: { content: '/approve 7F3K' } })).toBe(200);
    expect(senders()).toEqual(['victim', 'approver', 'lead']);
    expect(findings).toEqual([{ robot: 'ops', msgId: 'm2', count: 1 }]);
  });

  it('are reported at the first other message, when it says to be of another moment', async () => {
    const headers = capture();
    await replay(headers, { msgId: 'm1' });
    nowMs += 60_000;
    await replay(headers, { msgId: 'm2' });
    expect(findings).toEqual([{ robot: 'ops', msgId: 'm2', count: 1 }]);
  });

  it('are worth nothing after an hour, at another robot, or with another clock', async () => {
    const headers = capture();
    expect(await replay(headers, { msgId: 'm1' }, 'second')).toBe(401);
    expect(await replay({ ...headers, timestamp: String(nowMs + 1) }, { msgId: 'm1' })).toBe(401);
    nowMs += 3_600_001;
    expect(await replay(headers, { msgId: 'm1' })).toBe(401);
    expect(recorded).toEqual([]);
  });

  it('do not speak for a robot of another name, nor for people of another organisation', async () => {
    const headers = capture();
    expect(await replay(headers, { msgId: 'm1', robotCode: 'dingsecond' })).toBe(400);
    expect(await replay(headers, { msgId: 'm2', senderCorpId: 'another-corp', senderStaffId: 'approver' })).toBe(200);
    const message = inboundReceivedSchema.parse(recorded[0]?.message);
    expect(message.body.requester).toMatchObject({ staffId: null, corpId: 'another-corp' });
  });

  it('do not open the door of cards, nor the other way round', async () => {
    const headers = capture();
    const click = {
      outTrackId: 'card',
      userId: 'approver',
      corpId: 'corp-1',
      content: '{"cardPrivateData":{"params":{"action":"approve"}}}',
    };
    const { status } = await request(app)
      .post('/dingtalk/cards/ops')
      .set({ ...headers })
      .send(click);
    expect(status).toBe(401);
    expect(recorded).toEqual([]);
  });
});

describe('a staff id as the platform writes it', () => {
  it.each(['staff-２', 'ѕtaff-2', 'STAFF-2', 'staff-2\u200b', 'staff\u20102'])(
    'is taken letter by letter: %j is another person',
    async (senderStaffId) => {
      await replay(capture(), { msgId: 'm1', senderStaffId });
      expect(senders()).toEqual([senderStaffId]);
    },
  );

  it('is nobody where it is missing, empty or no text', async () => {
    for (const [at, senderStaffId] of [undefined, null, '', [], {}, true].entries())
      await replay(capture(), { msgId: `m${at}`, senderStaffId });
    expect(new Set(senders())).toEqual(new Set([null]));
  });
});
