import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import { sealText } from '@steward/service-kit';
import type { ApiClient, RobotApp, SendOutcome, SendRefused } from '@steward/dingtalk';
import { replyAddressContext, type OutboundTarget } from '@steward/contracts';
import type { OpenAttempt } from './open-attempt.ts';
import { createSend } from './send-by-path.ts';
import { buildAttempt, buildReply, cardContent, cardUpdate, replyKeys } from './testing.ts';

type Call = { door: keyof ApiClient; content?: { text: string } } & Record<string, unknown>;
let calls: Call[] = [];
let states: string[] = [];
let answer: () => Promise<SendOutcome>;
const accepted: SendOutcome = {
  kind: 'accepted',
  processQueryKey: 'key-1',
  invalidStaffIds: [],
  flowControlledStaffIds: [],
};
const refused = (kind: Exclude<SendOutcome['kind'], 'accepted'>, retryAfterMs?: number): SendRefused => ({
  kind,
  code: kind.toUpperCase(),
  text: '',
  retryAfterMs,
});
beforeEach(() => {
  calls = [];
  states = [];
  answer = () => Promise.resolve(accepted);
});

const app: RobotApp = {
  robotCode: 'dingtest',
  tokens: { get: () => Promise.resolve('token'), invalidate: () => undefined },
};
const httpApp: RobotApp = { ...app, robotCode: 'dinghttp' };
const rule = { hosts: ['oapi.dingtalk.com'], httpHosts: [] };
const createSender = () => {
  const door = (name: keyof ApiClient) => (o: object) => {
    calls.push({ door: name, ...o });
    return answer();
  };
  return createSend({
    api: {
      sendBySession: door('sendBySession'),
      sendToUsers: door('sendToUsers'),
      sendToGroup: door('sendToGroup'),
      sendByCustomRobot: door('sendByCustomRobot'),
      createAndDeliverCard: door('createAndDeliverCard'),
      updateCard: door('updateCard'),
      recallGroup: door('recallGroup'),
      recallUsers: door('recallUsers'),
      registerCardCallback: door('registerCardCallback'),
      lookUpPerson: () => Promise.resolve({ kind: 'absent' }),
    },
    robots: {
      byCode: new Map([
        ['dingtest', { app, rule, cardCallback: { kind: 'stream' } }],
        ['dinghttp', { app: httpApp, rule, cardCallback: { kind: 'http', routeKey: 'ops' } }],
      ]),
      customRobots: new Map([['ops-alerts', { accessToken: 'custom-token', secret: 'custom-secret' }]]),
    },
    replyKeys,
    repeatMark: '(possibly a repeat)',
    onBreakerChange: (name, state) => states.push(`${name} ${state}`),
  });
};
const send = (over: Partial<OpenAttempt>, sender = createSender()) => sender.send(buildAttempt(over));

const webhook = 'https://oapi.dingtalk.com/robot/sendBySession?session=1';
const sealed = (conversationId = 'cid-1') =>
  sealText(replyKeys, webhook, replyAddressContext('dingtest', conversationId));
const reply = (sealedUrl: string): OutboundTarget => buildReply({ expiresAtMs: Date.now() + 3_600_000, sealedUrl });

describe('each path', () => {
  it('of a reply opens the sealed address and posts there, under the rule of the robot', async () => {
    expect(await send({ path: 'session_webhook', target: reply(sealed()) })).toEqual({
      outcome: 'accepted',
      code: null,
      processQueryKey: 'key-1',
      retryAfterMs: null,
    });
    expect(calls).toMatchObject([
      { door: 'sendBySession', sessionWebhook: webhook, rule, content: { title: 'title', text: 'hello' } },
    ]);
  });

  it('of a group and of a person goes by the robot’s own app', async () => {
    await send({});
    await send({ path: 'group_openapi', target: buildReply({ expiresAtMs: null }) });
    await send({ path: 'person_openapi', target: { kind: 'person', robotCode: 'dingtest', staffId: 'staff-7' } });
    await send({ path: 'person_openapi', target: buildReply({ kind: 'single', expiresAtMs: null }) });
    expect(calls).toMatchObject([
      { door: 'sendToGroup', app, conversationId: 'cid-1' },
      { door: 'sendToGroup', app, conversationId: 'cid-1' },
      { door: 'sendToUsers', app, staffIds: ['staff-7'] },
      { door: 'sendToUsers', app, staffIds: ['staff-1'] },
    ]);
  });

  it('of a custom robot bears the same id at every attempt of a part, and another for another part', async () => {
    const attempt = buildAttempt({ path: 'custom_robot', target: { kind: 'custom_robot', robot: 'ops-alerts' } });
    const sender = createSender();
    for (const over of [{ number: 1 }, { number: 2, unknownCount: 1 }, { number: 3, part: 1 }])
      await sender.send({ ...attempt, ...over });
    expect(calls[0]).toMatchObject({ door: 'sendByCustomRobot', accessToken: 'custom-token', secret: 'custom-secret' });
    expect(calls[1]?.['msgUuid']).toBe(calls[0]?.['msgUuid']);
    expect(calls[2]?.['msgUuid']).not.toBe(calls[0]?.['msgUuid']);
    // The platform drops the repeat by its id: the text says nothing.
    expect(calls.map(({ content }) => content?.text)).toEqual(['hello', 'hello', 'hello']);
  });

  it('marks what may be a repeat where the platform cannot tell', async () => {
    await send({ unknownCount: 1 });
    await send({ unknownCount: 1, path: 'session_webhook', target: reply(sealed()) });
    expect(calls.map(({ content }) => content?.text)).toEqual([
      '(possibly a repeat)\n\nhello',
      '(possibly a repeat)\n\nhello',
    ]);
  });
});

describe('cards and recalls', () => {
  const person = { kind: 'person', robotCode: 'dinghttp', staffId: 'staff-7' } as const;
  const recall = { kind: 'recall', outboundMessageId: '0190a0a0-0000-7000-8000-000000000000' } as const;
  const processQueryKeys = ['k1', 'k2'];

  it('of a group and of a person go to their space, and tell how clicks come back', async () => {
    const { kind: _, ...card } = cardContent;
    await send({ path: 'card', content: cardContent });
    await send({ path: 'card', content: cardContent, target: person });
    expect(calls).toMatchObject([
      { door: 'createAndDeliverCard', app, ...card, space: { kind: 'group', conversationId: 'cid-1' } },
      { door: 'createAndDeliverCard', app: httpApp, ...card, space: { kind: 'person', staffId: 'staff-7' } },
    ]);
    expect(calls.map(({ callback }) => callback)).toEqual([{ kind: 'stream' }, { kind: 'http', routeKey: 'ops' }]);
  });

  it('are the same at every attempt: same card, same values, same handles', async () => {
    const sender = createSender();
    for (const [path, content] of [
      ['card', cardContent],
      ['card_update', cardUpdate],
      ['recall', recall],
    ] as const) {
      calls = [];
      for (const unknownCount of [0, 1, 9])
        await sender.send(buildAttempt({ path, content, unknownCount, processQueryKeys }));
      expect(calls).toHaveLength(3);
      expect(calls[1]).toEqual(calls[0]);
      expect(calls[2]).toEqual(calls[0]);
    }
  });

  it('name the handles of the ledger, in the group or in single chats', async () => {
    await send({ path: 'recall', content: recall, processQueryKeys });
    await send({ path: 'recall', content: recall, processQueryKeys, target: person });
    expect(calls).toEqual([
      { door: 'recallGroup', app, conversationId: 'cid-1', processQueryKeys },
      { door: 'recallUsers', app: httpApp, processQueryKeys },
    ]);
  });

  it('never go by a path of words, nor words by theirs', async () => {
    expect(await send({ path: 'card' })).toMatchObject({ outcome: 'permanent', code: 'NOT_CONFIGURED' });
    const custom = { kind: 'custom_robot', robot: 'ops-alerts' } as const;
    expect(await send({ path: 'custom_robot', content: cardContent, target: custom })).toMatchObject({
      outcome: 'permanent',
    });
    expect(calls).toEqual([]);
  });
});

describe('what cannot be sent', () => {
  it.each([
    ['sealed for another conversation', sealed('cid-2')],
    ['sealed with a key that was retired', sealed().replace('v1.k1.', 'v1.k0.')],
    ['altered', `${sealed().slice(0, -4)}AAAA`],
  ])('goes over to the OpenAPI when the reply address is %s, and calls nobody', async (_, sealedUrl) => {
    expect(await send({ path: 'session_webhook', target: reply(sealedUrl) })).toMatchObject({
      outcome: 'session_gone',
    });
    expect(calls).toEqual([]);
  });

  it.each<[string, Partial<OpenAttempt>]>([
    ['robot', { target: { kind: 'group', robotCode: 'dinggone', conversationId: 'c' } }],
    ['custom robot', { path: 'custom_robot', target: { kind: 'custom_robot', robot: 'gone' } }],
  ])('fails for good when its %s is no longer configured', async (_, over) => {
    expect(await send(over)).toMatchObject({ outcome: 'permanent', code: 'NOT_CONFIGURED' });
    expect(calls).toEqual([]);
  });
});

describe('what the platform says', () => {
  it.each<[SendOutcome, object]>([
    [refused('retryable', 2_000), { outcome: 'retryable', code: 'RETRYABLE', retryAfterMs: 2_000, wish: null }],
    [
      { ...refused('retryable', 2_000), scope: 'egress' as const, code: '1111' },
      { outcome: 'retryable', retryAfterMs: 2_000, wish: { scope: 'egress', ms: 2_000 } },
    ],
    [
      { ...refused('retryable', 2_000), scope: 'egress' as const, code: 'HTTP_404' },
      { outcome: 'retryable', retryAfterMs: 2_000, wish: null },
    ],
    [refused('token'), { outcome: 'retryable', code: 'TOKEN' }],
    [refused('permanent'), { outcome: 'permanent' }],
    [{ ...refused('permanent'), scope: 'robot' }, { outcome: 'permanent' }],
    // People mend the app's setup, and then the message leaves.
    [
      { ...refused('permanent'), scope: 'app' },
      { outcome: 'retryable', code: 'PERMANENT', retryAfterMs: 60_000, misconfigured: true },
    ],
    [refused('invalid'), { outcome: 'invalid' }],
    [refused('unknown'), { outcome: 'unknown' }],
    [
      { ...accepted, invalidStaffIds: ['staff-1'] },
      { outcome: 'permanent', code: 'INVALID_STAFF_ID' },
    ],
    [
      { ...accepted, flowControlledStaffIds: ['staff-1'] },
      { outcome: 'retryable', code: 'FLOW_CONTROLLED', retryAfterMs: 60_000 },
    ],
  ])('%j becomes an outcome', async (said, outcome) => {
    answer = () => Promise.resolve(said);
    expect(await send({})).toMatchObject(outcome);
  });

  it('is unknown, not "try again", when the call itself breaks down half way', async () => {
    answer = () => Promise.reject(new Error('a bug after the bytes left'));
    expect(await send({})).toMatchObject({ outcome: 'unknown' });
  });
});

describe('the breaker', () => {
  it('opens on the platform’s faults: what follows is later, uncalled, and other paths go on', async () => {
    const sender = createSender();
    answer = () => Promise.resolve(refused('unknown'));
    for (let n = 0; n < 10; n += 1) await send({}, sender);
    expect(states).toEqual(['group_openapi robot dingtest open']);
    expect(sender.isHeldBack('group_openapi', 'robot dingtest')).toBe(true);
    expect(sender.isHeldBack('session_webhook', 'robot dingtest')).toBe(false);
    expect(sender.isHeldBack('group_openapi', 'robot dingother')).toBe(false);
    calls = [];
    answer = () => Promise.resolve(accepted);
    expect(await send({}, sender)).toMatchObject({ outcome: 'retryable', code: 'BREAKER_OPEN' });
    expect(calls).toEqual([]);
    expect(await send({ path: 'session_webhook', target: reply(sealed()) }, sender)).toMatchObject({
      outcome: 'accepted',
    });
    expect(await send({ budget: 'robot dingother' }, sender)).toMatchObject({ outcome: 'accepted' });
  });

  it('lets one probe through when it has been open for a while, and holds the others back meanwhile', async () => {
    jest.useFakeTimers();
    try {
      const sender = createSender();
      const isHeldBack = () => sender.isHeldBack('group_openapi', 'robot dingtest');
      answer = () => Promise.resolve(refused('unknown'));
      for (let n = 0; n < 10; n += 1) await send({}, sender);
      jest.advanceTimersByTime(10_500);
      expect(states.at(-1)).toBe('group_openapi robot dingtest half_open');
      expect(isHeldBack()).toBe(false);
      let arrive: (said: SendOutcome) => void = () => undefined;
      answer = () => new Promise((resolve) => (arrive = resolve));
      const probe = send({}, sender);
      expect(isHeldBack()).toBe(true);
      arrive(accepted);
      await probe;
      expect(isHeldBack()).toBe(false);
    } finally {
      jest.useRealTimers();
    }
  });

  it.each(['token', 'permanent', 'invalid', 'session_gone'] as const)(
    'stays closed on %s: that is about us',
    async (kind) => {
      const sender = createSender();
      answer = () => Promise.resolve(refused(kind));
      for (let n = 0; n < 30; n += 1) await send({}, sender);
      expect(calls).toHaveLength(30);
      expect(states).toEqual([]);
    },
  );
});
