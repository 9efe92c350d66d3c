import { randomBytes } from 'node:crypto';
import { waitUntil } from '@steward/testkit';
import type { DemoCard } from './stack.ts';

type Saying = { token: string; msgId: string; outcome: string };
export type Verdict = { said: number; accepted: number; answered: number; lost: string[]; doubled: string[] };

const inFlightLimit = 20;
/** Fast redelivery, so that an interruption of seconds does not outlast the platform's patience. */
const faults = { robotRetryMs: [500, 1_000, 2_000, 4_000, 8_000, 16_000], streamAckTimeoutMs: 3_000 };

/**
 * People who talk without a pause, and a checker that knows only what the simulated DingTalk saw: what it sent and got
 * accepted, and what it received as answers. Each saying is an unknown command with a token of its own, which the
 * answer repeats.
 */
export function createConversation(
  { simulatorUrl, rooms, people }: Pick<DemoCard, 'simulatorUrl' | 'rooms' | 'people'>,
  { settleLimitMs }: { settleLimitMs: number } = { settleLimitMs: 120_000 },
) {
  const sayings = new Map<string, Saying>();
  const answers = new Map<string, number>();
  const run = randomBytes(3).toString('hex');
  let answersSince = 0;

  const call = async (method: string, verb: string, body?: unknown): Promise<unknown> => {
    const init = {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    };
    const answer = await fetch(`${simulatorUrl}/control/${verb}`, { ...init, signal: AbortSignal.timeout(15_000) });
    if (!answer.ok) throw new Error(`simulator ${verb}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };

  /** By turns: both robots (one signed http, one Stream), rooms and single chats, every person who may. */
  const sayOne = async (): Promise<void> => {
    const n = sayings.size;
    const room = rooms[n % rooms.length];
    const staffId = people[n % people.length]?.staffId;
    const token = `t${run}x${n}`;
    const saying: Saying = { token, msgId: `msg-${token}`, outcome: 'pending' };
    sayings.set(saying.msgId, saying);
    const place = n % 4 < 2 ? { room: room?.id, staffId } : { staffId };
    await call('POST', 'say', { robot: room?.robot, ...place, text: `/${token}`, msgId: saying.msgId });
  };

  const readOutcomes = async (): Promise<void> => {
    const { sent } = (await call('GET', 'sent')) as { sent: { key: string; outcome: string }[] };
    for (const { key, outcome } of sent) {
      const saying = sayings.get(key);
      if (saying !== undefined) saying.outcome = outcome;
    }
  };

  const readAnswers = async (): Promise<void> => {
    const { messages } = (await call('GET', `messages?since=${answersSince}&from=robot`)) as {
      messages: { n: number; text: string }[];
    };
    for (const { n, text } of messages) {
      answersSince = Math.max(answersSince, n);
      const token = /\/(t[0-9a-f]{6}x\d+)/.exec(text)?.[1];
      if (token !== undefined) answers.set(token, (answers.get(token) ?? 0) + 1);
    }
  };

  const judge = (): Verdict => {
    const accepted = [...sayings.values()].filter(({ outcome }) => outcome === 'acked');
    return {
      said: sayings.size,
      accepted: accepted.length,
      answered: answers.size,
      lost: accepted.filter(({ token }) => !answers.has(token)).map(({ token }) => token),
      doubled: [...answers].filter(([, count]) => count > 1).map(([token]) => token),
    };
  };

  return {
    /** To be called whenever the simulator is new: its switches and its numbering start afresh, our record goes on. */
    meetSimulator: async () => {
      answersSince = 0;
      await call('PUT', 'faults', faults);
    },
    say: async (count: number) => {
      await Promise.all(Array.from({ length: count }, sayOne));
    },
    /** Somebody says something every `everyMs` while `action` runs, and a little before and after. */
    during: async (action: () => Promise<unknown>, everyMs = 150): Promise<void> => {
      const inFlight = new Set<Promise<void>>();
      const failures: unknown[] = [];
      const talkOn = async () => {
        const enough = sayings.size + 5;
        await waitUntil(() => sayings.size >= enough, { timeoutMs: 30_000, what: 'the talk to go on' });
      };
      const talk = setInterval(() => {
        if (inFlight.size >= inFlightLimit) return;
        const saying: Promise<void> = sayOne()
          .catch((error: unknown) => void failures.push(error))
          .finally(() => inFlight.delete(saying));
        inFlight.add(saying);
      }, everyMs);
      try {
        await talkOn();
        await action();
        await talkOn();
      } finally {
        clearInterval(talk);
        await Promise.all(inFlight);
      }
      if (failures.length > 0)
        throw new Error(`${failures.length} sayings never reached the simulator`, { cause: failures[0] });
    },
    /** Reads what the simulator knows by now. To be called before it goes away. */
    remember: async () => {
      await readOutcomes();
      await readAnswers();
    },
    /** Waits until every accepted saying is answered and no push is on its way any more, then gives the verdict. */
    settle: async (): Promise<Verdict> => {
      const isSettled = async () => {
        await readOutcomes();
        await readAnswers();
        const pending = [...sayings.values()].some(({ outcome }) => outcome === 'pending');
        return !pending && judge().lost.length === 0;
      };
      await waitUntil(isSettled, {
        timeoutMs: settleLimitMs,
        what: 'every accepted saying to be answered',
        everyMs: 500,
      }).catch(() => undefined);
      return judge();
    },
  };
}
