import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { variantNames, type PayloadVariant } from '@steward/dingtalk-simulator';
import { waitUntil } from '@steward/testkit';
import { newQuestion, startStack, type Stack } from './harness.ts';
import { people, roomOf } from './stack-config.ts';

jest.setTimeout(120_000);

const unreadable = (msgtype: string) => () => `I cannot read this kind of message yet (${msgtype}); please send text.`;
const itself = (text: string) => `I do not know the command ${text}. Send /help for the ones I know.`;
const noModel = () => 'No model is configured';

/** What each odd shape of a message is answered in a group. */
const answerTo: Record<PayloadVariant, (text: string) => string> = {
  noSenderStaffId: itself,
  emptySenderStaffId: itself,
  noIsAdmin: itself,
  noRobotCode: itself,
  unknownMsgType: unreadable('unknownMsgType'),
  futureMsgType: unreadable('interactiveCard'),
  richTextPicture: itself,
  picture: unreadable('picture'),
  // The platform's speech recognition reads "speech to text": words for a model.
  audio: noModel,
  video: unreadable('video'),
  file: unreadable('file'),
  quotedReply: itself,
  textInContent: itself,
  numbersAsStrings: itself,
  overQuota: () => 'did not reach me',
};

describe('every kind of message that DingTalk can send', () => {
  let stack: Stack;
  const silent: string[] = [];
  beforeAll(async () => {
    stack = await startStack();
  });
  afterAll(() => stack.stop());

  const sayAndHear = async (say: Parameters<Stack['say']>[0], answers: number) => {
    const since = await stack.lastLine();
    const { msgId, delivered } = await stack.say(say);
    expect(delivered).toMatchObject([{ outcome: 'acked' }]);
    const heard = answers === 0 ? [] : await stack.waitForAnswers({ since, count: answers });
    return { msgId, texts: heard.map(({ text }) => text) };
  };
  const expectPing = async (place: { robot: string; room?: string; staffId: string; via: 'http' | 'stream' }) => {
    expect((await sayAndHear({ ...place, text: '/ping' }, 1)).texts).toEqual(['pong, I am here.']);
  };

  it.each(variantNames.flatMap((variant) => (['http', 'stream'] as const).map((via) => [variant, via] as const)))(
    '%s through %s in a group has its answer, and the next /ping too',
    async (variant, via) => {
      const text = newQuestion();
      const place = { robot: 'both', room: roomOf('both'), staffId: people.li, via };
      const { texts } = await sayAndHear({ ...place, text, variant }, 1);
      expect(texts).toEqual([expect.stringContaining(answerTo[variant](text))]);
      await expectPing(place);
    },
  );

  it('tells the operator of the exhausted quota', async () => {
    const lines = await waitUntil(
      () =>
        stack.agentCores[0]
          ?.output()
          .split('\n')
          .filter((line) => line.includes('"platform.quota.exhausted"')),
      { timeoutMs: 10_000, what: 'the operator to be told' },
    );
    expect(lines).toHaveLength(2);
    expect(JSON.parse(lines[0] ?? '{}')).toMatchObject({
      level: 'error',
      service: 'agent-core',
      text: expect.stringContaining('超量'),
    });
  });

  const inSingle = variantNames.filter((variant) => !variant.endsWith('SenderStaffId'));
  it.each(inSingle)('%s in a single chat has its answer, and the next /ping too', async (variant) => {
    const text = newQuestion();
    const place = { robot: 'http', staffId: people.han, via: 'http' as const };
    const { texts } = await sayAndHear({ ...place, text, variant }, 1);
    expect(texts).toEqual([expect.stringContaining(answerTo[variant](text))]);
    await expectPing(place);
  });

  it('nobody without a staff id is answered in a single chat, beyond one refusal', async () => {
    const place = { robot: 'http', staffId: people.li, via: 'http' as const };
    const refused = await sayAndHear({ ...place, text: '/whoami', variant: 'noSenderStaffId' }, 1);
    expect(refused.texts).toEqual([expect.stringContaining('I do not know you yet')]);
    silent.push((await sayAndHear({ ...place, text: '/whoami', variant: 'emptySenderStaffId' }, 0)).msgId);
    await expectPing(place);
  });

  it('loses, doubles and reorders nothing of all that', async () => {
    await stack.checkNothingLost({ silent });
  });
});
