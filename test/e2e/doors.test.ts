import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { waitUntil } from '@steward/testkit';
import { newQuestion, startStack, type Stack } from './harness.ts';
import { postToDoor, signHeaders } from './signed-post.ts';
import { codeOf, people, roomOf } from './stack-config.ts';

jest.setTimeout(120_000);

/** Stands in every body and header that is refused, and may stand in nothing that comes back or is kept. */
const canary = 'CANARY-7f3k';
const hourMs = 3_600_000;
type Request = Omit<Parameters<typeof postToDoor>[0], 'url'> & { path?: string };

describe('the doors of a real adapter', () => {
  let stack: Stack;
  let adapterUrl: string;
  let secret: string;
  beforeAll(async () => {
    stack = await startStack();
    adapterUrl = stack.adapters[0]?.url ?? '';
    secret = stack.secrets['http.app-secret'] ?? '';
  });
  afterAll(() => stack.stop());

  const body = (o: Record<string, unknown> = {}) => ({
    msgtype: 'text',
    text: { content: canary },
    msgId: canary,
    conversationId: `cid${canary}`,
    conversationType: '2',
    robotCode: codeOf('http'),
    ...o,
  });
  const knock = ({ path = '/dingtalk/robot/http', ...request }: Request) =>
    postToDoor({ ...request, url: `${adapterUrl}${path}` });
  const readMetrics = async () => (await fetch(`${adapterUrl}/metrics`)).text();
  const countRejected = async (door: string, reason: string) => {
    const line = (await readMetrics())
      .split('\n')
      .find((text) => text.startsWith(`steward_door_rejected_total{door="${door}",reason="${reason}"`));
    return Number(line?.split(' ').at(-1) ?? 0);
  };
  const good = () => signHeaders(secret);

  const refusals: [string, number, string, () => Request][] = [
    ['a bad signature', 401, 'SIGNATURE_MISMATCH', () => ({ headers: signHeaders('another secret'), body: body() })],
    [
      'a signature of another time',
      401,
      'SIGNATURE_MISMATCH',
      () => ({ headers: { ...good(), timestamp: String(Date.now() - 5) }, body: body() }),
    ],
    [
      'a stale clock',
      401,
      'SIGNATURE_STALE',
      () => ({ headers: signHeaders(secret, Date.now() - 2 * hourMs), body: body() }),
    ],
    [
      'a clock ahead',
      401,
      'SIGNATURE_STALE',
      () => ({ headers: signHeaders(secret, Date.now() + 2 * hourMs), body: body() }),
    ],
    ['no signature', 401, 'SIGNATURE_MISSING', () => ({ body: body() })],
    ['no JSON', 400, 'BODY_MALFORMED', () => ({ headers: good(), body: `{"msgId":"${canary}"` })],
    ['no message id', 400, 'BODY_MALFORMED', () => ({ headers: good(), body: body({ msgId: undefined }) })],
    ['an empty body', 400, 'BODY_MALFORMED', () => ({ headers: good(), body: '' })],
    [
      'too large a body',
      413,
      'BODY_TOO_LARGE',
      () => ({ headers: good(), body: body({ padding: canary.repeat(30_000) }) }),
    ],
    [
      'a compressed body',
      415,
      'BODY_ENCODING',
      () => ({ headers: { ...good(), 'content-encoding': 'gzip' }, body: gzipSync(JSON.stringify(body())) }),
    ],
    [
      'an unknown robot',
      404,
      'UNKNOWN_ROBOT',
      () => ({ path: `/dingtalk/robot/${canary}`, headers: good(), body: body() }),
    ],
    [
      'a robot of another door',
      404,
      'DOOR_CLOSED',
      () => ({ path: '/dingtalk/robot/stream', headers: good(), body: body() }),
    ],
    [
      "another robot's body",
      400,
      'ROBOT_MISMATCH',
      () => ({ headers: good(), body: body({ robotCode: codeOf('both') }) }),
    ],
  ];

  it.each(refusals)('%s is answered %i %s, counted, and not echoed', async (_name, status, reason, request) => {
    const before = await countRejected('robot', reason);
    const answer = await knock({ ...request(), headers: { ...request().headers, 'x-canary': canary } });
    expect({ status: answer.status, code: (JSON.parse(answer.text) as { code: unknown }).code }).toEqual({
      status,
      code: reason,
    });
    expect(answer.text).not.toContain(canary);
    expect(await countRejected('robot', reason)).toBe(before + 1);
  });

  it.each(['/dingtalk/robot/http', '/dingtalk/cards/http', '/dingtalk/events/http', `/${canary}`])(
    'GET %s leads nowhere',
    async (path) => {
      const answer = await knock({ path, method: 'GET', body: undefined });
      expect([404, 405]).toContain(answer.status);
      expect(answer.text).not.toContain(canary);
    },
  );

  it('audits refusals as counts, whatever their number', async () => {
    const flood = Array.from({ length: 60 }, () => knock({ headers: signHeaders('another secret'), body: body() }));
    expect(new Set((await Promise.all(flood)).map(({ status }) => status))).toEqual(new Set([401]));
    const counted = await countRejected('robot', 'SIGNATURE_MISMATCH');
    const read = async () => {
      const [row] = await stack.sql<{ entries: number; sum: number }>(
        `select count(*)::int as entries, sum((detail->>'count')::int)::int as sum from audit.entry
         where kind = 'door.rejected' and outcome = 'refused' and detail->>'reason' = 'SIGNATURE_MISMATCH' and detail->>'door' = 'robot'`,
      );
      return row?.sum === counted ? row : null;
    };
    // Written every ten seconds.
    const row = await waitUntil(read, { timeoutMs: 30_000, what: 'the audit to hold every refusal' });
    expect(row.entries).toBeLessThanOrEqual(4);
  });

  it('kept nothing of what it refused', async () => {
    const [kept] = await stack.sql(
      `select (select count(*)::int from adapter.inbound_event) as events,
        (select count(*)::int from audit.entry e where e::text like '%${canary}%') as audited`,
    );
    expect(kept).toEqual({ events: 0, audited: 0 });
    expect(stack.adapters[0]?.output()).not.toContain(canary);
  });

  describe('for encrypted events', () => {
    const push = (o: Record<string, unknown> = {}) =>
      stack.simulator.control.event({
        app: 'http',
        eventType: 'user_leave_org',
        payload: { userId: [people.li] },
        via: 'http',
        ...o,
      });
    const readEvents = (eventId: string) =>
      stack.sql('select door, duplicate_count from adapter.inbound_event where kind = $1 and source_id = $2', [
        'platform_event',
        eventId,
      ]);

    it.each(['msg_signature', 'signature'] as const)(
      'takes an event (spelt %s), answers success encrypted, and counts the repeat',
      async (eventParamSpelling) => {
        stack.simulator.control.setFaults({ eventParamSpelling });
        const { eventId, delivered } = await push();
        expect(delivered).toEqual([{ via: 'http', outcome: 'acked', status: 200 }]);
        await push({ eventId });
        expect(await readEvents(eventId)).toEqual([{ door: 'http', duplicate_count: 1 }]);
      },
    );

    it('answers the check of its address and keeps nothing of it', async () => {
      const { eventId, delivered } = await push({ eventType: 'check_url', payload: {} });
      expect(delivered).toMatchObject([{ outcome: 'acked' }]);
      expect(await readEvents(eventId)).toEqual([]);
    });

    it.each(['wrongOwner', 'wrongPad', 'badSignature'] as const)('refuses %s with 401', async (eventCrypto) => {
      const before = await countRejected('platform_event', 'SIGNATURE_MISMATCH');
      stack.simulator.control.setFaults({ eventCrypto, httpEventRetryMs: [] });
      const { eventId, delivered } = await push();
      stack.simulator.control.setFaults({ eventCrypto: 'good' });
      expect(delivered).toEqual([{ via: 'http', outcome: 'refused', status: 401 }]);
      expect(await readEvents(eventId)).toEqual([]);
      expect(await countRejected('platform_event', 'SIGNATURE_MISMATCH')).toBe(before + 1);
    });

    it('takes one over the Stream too', async () => {
      const { eventId, delivered } = await push({ app: 'stream', via: 'stream' });
      expect(delivered).toEqual([{ via: 'stream', outcome: 'acked' }]);
      expect(await readEvents(eventId)).toEqual([{ door: 'stream', duplicate_count: 0 }]);
    });
  });

  describe('for card clicks', () => {
    const click = (outTrackId: string, o: { robot: string; via: 'http' | 'stream' }) =>
      stack.simulator.control.click({
        outTrackId,
        staffId: people.han,
        actionIds: ['approve'],
        room: roomOf('http'),
        // No card of that name: whether it decides anything is not the door's to say.
        forged: true,
        ...o,
      });
    const readClicks = (outTrackId: string) =>
      stack.sql("select staff_id, click->'actionIds' as actions from agent_core.card_click where out_track_id = $1", [
        outTrackId,
      ]);

    it.each([
      ['http', 'http'],
      ['stream', 'stream'],
    ] as const)("answers one through %s within the platform's 2 s, records it once, audits it", async (robot, via) => {
      const outTrackId = `track-${newQuestion().slice(3)}`;
      // The simulator counts an answer only within 2 s.
      const { delivered, answer } = await click(outTrackId, { robot, via });
      expect(delivered).toMatchObject([{ via, outcome: 'acked' }]);
      expect(JSON.stringify(answer)).toContain('"updateCardDataByKey":true');
      await waitUntil(async () => (await readClicks(outTrackId)).length, {
        timeoutMs: 20_000,
        what: 'the click to be recorded',
      });
      await stack.waitUntilQuiet();
      expect(await readClicks(outTrackId)).toEqual([{ staff_id: people.han, actions: ['approve'] }]);
      const audited = await stack.sql(
        `select outcome, actor_staff_id from audit.entry where kind = 'card.clicked' and detail->>'outTrackId' = $1`,
        [outTrackId],
      );
      expect(audited).toEqual([{ outcome: 'recorded', actor_staff_id: people.han }]);
    });

    it.each(['bad', 'old', 'missing'] as const)('refuses a %s signature with 401', async (cardSignature) => {
      stack.simulator.control.setFaults({ cardSignature });
      const { delivered } = await click('track-refused', { robot: 'http', via: 'http' });
      stack.simulator.control.setFaults({ cardSignature: 'good' });
      expect(delivered).toEqual([{ via: 'http', outcome: 'refused', status: 401 }]);
      expect(await readClicks('track-refused')).toEqual([]);
    });
  });

  it('still answers people after all that, and leaked no secret', async () => {
    await stack.say({ robot: 'http', room: roomOf('http'), text: '/ping' });
    expect(await stack.checkNothingLost()).toMatchObject({ acknowledged: 1, lost: 0 });
  });
});
