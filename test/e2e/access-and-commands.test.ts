import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { startStack, type Stack } from './harness.ts';
import { codeOf, people, roomOf, unknownRoom } from './stack-config.ts';

jest.setTimeout(120_000);

/** The start of each answer, by what is typed, as people type it. */
const answers = {
  zh: {
    '/help': '我是 Steward，运维助手。',
    '／帮助': '我是 Steward，运维助手。',
    '/ping': 'pong，我在。',
    '/我是谁': `你是 ${people.li}\n- 员工编号：${people.li}\n- 角色：ops`,
    '/群': `这里是 room-0\n- 会话编号：${roomOf('http')}\n- 机器人：${codeOf('http')}\n- 环境：test`,
    '／状态': '一切正常\n- 版本：dev\n- 时间：',
    '/重启 api': '我不认识命令 /重启。',
    '今天谁值班？': '还没有配置模型',
  },
  en: {
    '/help': 'I am Steward, the assistant of this operations team.',
    '　／HELP': 'I am Steward, the assistant of this operations team.',
    '/ping': 'pong, I am here.',
    '/whoami': `You are ${people.li}\n- staff id: ${people.li}\n- roles: ops`,
    '/room': `This is room-0\n- conversation id: ${roomOf('http')}\n- robot: ${codeOf('http')}\n- environment: test`,
    '/status': 'All is well\n- version: dev\n- time: ',
    '/quota': 'API calls this month (',
    '/restart api': 'I do not know the command /restart.',
    'who is on call?': 'No model is configured',
  },
} as const;
const unknownCommandIs = { zh: '/help 查看可用命令', en: 'Send /help for the ones I know.' };
const roomRefusal = {
  zh: `请管理员把群编号 ${unknownRoom} 加入`,
  en: `An administrator can add the room id ${unknownRoom}`,
};
const personRefusal = {
  zh: `请管理员把员工编号 ${people.stranger} 加入`,
  en: `An administrator can add the staff id ${people.stranger}`,
};

describe.each(['zh', 'en'] as const)('in %s', (language) => {
  let stack: Stack;
  const silent: string[] = [];
  beforeAll(async () => {
    stack = await startStack({ language });
  });
  afterAll(() => stack.stop());

  const hear = async (say: Parameters<Stack['say']>[0]) => {
    const since = await stack.lastLine();
    await stack.say(say);
    const [answer] = await stack.waitForAnswers({ since });
    return answer?.text;
  };

  it.each(Object.entries(answers[language]))('%s is answered', async (text, start) => {
    expect(await hear({ robot: 'http', room: roomOf('http'), staffId: people.li, text })).toMatch(
      new RegExp(`^${escape(start)}`),
    );
  });

  it('an unknown command leads on, and a clock names its zone', async () => {
    const place = { robot: 'http', staffId: people.li };
    expect(await hear({ ...place, text: '/nothing-like-it' })).toContain(unknownCommandIs[language]);
    expect(await hear({ ...place, text: '/status' })).toMatch(/\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2} Asia\/Shanghai/);
  });

  it.each([
    ['room', 'unknown_room', roomRefusal[language], { robot: 'http', room: unknownRoom, staffId: people.li }],
    ['person in a single chat', 'unknown_person', personRefusal[language], { robot: 'http', staffId: people.stranger }],
  ])('an unknown %s gets one polite refusal, then silence; both are audited', async (_name, reason, refusal, place) => {
    const first = await stack.say({ ...place, text: '/help' });
    const [answer, ...more] = await stack.waitForAnswers({ contains: refusal });
    const second = await stack.say({ ...place, text: '/help' });
    silent.push(second.msgId);
    await stack.waitUntilQuiet();
    const after = await stack.simulator.control.messages({ since: answer?.n, from: 'robot' });
    expect([more, after]).toEqual([[], []]);
    const audited = await stack.sql(
      `select t.outcome, t.detail->>'reason' as reason, r.actor_staff_id from audit.entry t
       join audit.entry r on r.correlation_id = t.correlation_id and r.kind = 'inbound.recorded'
       where t.kind = 'turn.ended' and r.detail->>'sourceId' = any($1) order by r.occurred_at`,
      [[first.msgId, second.msgId]],
    );
    const entry = { reason, actor_staff_id: place.staffId };
    expect(audited).toEqual([
      { outcome: 'refused', ...entry },
      { outcome: 'refused_silently', ...entry },
    ]);
  });

  it('a stranger may talk in a configured room, and is nobody there', async () => {
    const nobody = { zh: '角色：无', en: 'roles: none' };
    expect(await hear({ robot: 'http', room: roomOf('http'), staffId: people.stranger, text: '/whoami' })).toContain(
      nobody[language],
    );
  });

  it('loses, doubles and reorders nothing of all that', async () => {
    await stack.checkNothingLost({ silent });
  });
});

const escape = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
