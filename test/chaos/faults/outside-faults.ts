import type { Fault } from '../fault.ts';
import { people } from '../../e2e/stack-config.ts';
import { ask, ownRoom, see } from './seen.ts';

export const lostResponse: Fault = {
  number: 21,
  name: 'DingTalk took the message and its answer never came',
  allows: ['send'],
  inject: async (chaos, onHeal) => {
    const { control } = chaos.stack.simulator;
    onHeal(async () => void control.setFaults({ loseResponses: [] }));
    control.setFaults({ loseResponses: [{ path: '/robot/sendBySession', mode: 'reset', times: 4 }] });
    const since = (await control.calls()).at(-1)?.n ?? 0;
    Array.from({ length: 4 }, (_, at) => ask(chaos, { room: ownRoom(at) }));
    const countLost = async () => {
      const calls = await control.calls({ since });
      return calls.filter(({ outcome }) => outcome.includes('(response lost)')).length;
    };
    return async () => {
      const lost = await see(
        'responses to be lost',
        async () => ((await countLost()) >= 4 ? countLost() : null),
        30_000,
      );
      return `${lost} messages were taken and their answers cut off`;
    };
  },
};

export const storm: Fault = {
  number: 22,
  name: 'DingTalk is busy, then says "too fast", then recovers',
  allows: [],
  inject: async (chaos, onHeal) => {
    const { control } = chaos.stack.simulator;
    onHeal(async () => void control.setFaults({ failNext: [] }));
    const path = '/robot/sendBySession';
    control.setFaults({
      failNext: [
        { path, reply: 'oapi.-1', times: 3 },
        { path, reply: 'oapi.130101', times: 6 },
      ],
    });
    const since = (await control.calls()).at(-1)?.n ?? 0;
    Array.from({ length: 6 }, (_, at) => ask(chaos, { room: ownRoom(at) }));
    const countFailed = async () =>
      (await control.calls({ since, path })).filter(({ outcome }) => outcome !== 'ok').length;
    return async () => {
      // One "too fast" holds the robot for all replicas: what is refused afterwards was on its way already.
      const failed = await see('calls to be refused', async () => ((await countFailed()) >= 4 ? countFailed() : null));
      const isHeld = async () =>
        (await chaos.stack.sql('select from outbound_sender.send_budget where held_until > now()')).length;
      await see('the robot to be held', isHeld);
      return `${failed} calls were refused while it stormed, and the robot was held`;
    };
  },
};

export const hostileSystem: Fault = {
  number: 23,
  name: 'a system that redirects to 169.254.169.254, floods, drips and fails',
  allows: [],
  inject: async (chaos, onHeal) => {
    const { control } = chaos.stack.simulator;
    onHeal(async () => void control.setFaults({ systemsFaults: [], replyDelayMs: {} }));
    const path = '/systems/services/mailer';
    control.setFaults({
      systemsRedirectTo: 'http://169.254.169.254/latest/meta-data',
      systemsHugeBytes: 50_000_000,
      systemsFaults: [
        { path, mode: 'redirect', times: 1 },
        { path, mode: 'huge', times: 1 },
        { path, mode: '500', times: 1 },
      ],
      replyDelayMs: { '/systems/services/nowhere': 30_000 },
    });
    const since = (await control.calls()).at(-1)?.n ?? 0;
    const line = await chaos.stack.lastLine();
    const room = ownRoom(1);
    const read = (service: string) =>
      chaos.stack.say({ robot: 'http', room, staffId: people.li, text: `/run service_status service=${service}` });
    for (const service of ['mailer', 'mailer', 'mailer', 'nowhere']) await read(service);
    const countCalls = async () => (await control.calls({ since })).filter((call) => call.path === path).length;
    return async () => {
      await see('the hostile answers to be given', async () => (await countCalls()) >= 3, 40_000);
      const lines = await see(
        'each of them to be told as a failure',
        async () => {
          const said = await control.messages({ since: line, from: 'robot', conversationId: room });
          const failed = said.filter(({ text }) => /service_status/.test(text) && /fail/i.test(text));
          return failed.length >= 3 ? failed.length : null;
        },
        60_000,
      );
      return `${lines} reads were answered as failed; nothing followed the redirect`;
    };
  },
};

const flood = 100;

export const floodOfOne: Fault = {
  number: 24,
  name: 'one conversation floods while the others trickle',
  allows: [],
  inject: async (chaos) => {
    const asked = Array.from({ length: flood }, () => ask(chaos));
    const since = Date.now();
    return async () => {
      await Promise.all(asked.map(({ said }) => said.catch(() => undefined)));
      const marks = asked.map(({ mark }) => mark);
      const pushes = await chaos.stack.simulator.control.sent({ kind: 'robot' });
      const acked = pushes.filter(({ key, outcome }) => outcome === 'acked' && marks.includes(key.slice(4))).length;
      return `${acked} of ${flood} messages of one room were taken within ${Date.now() - since} ms`;
    };
  },
};
