import { setTimeout as delay } from 'node:timers/promises';
import { codeOf, ticketOf } from '@steward/testkit';
import { extraRoom, people, roomOf } from '../e2e/stack-config.ts';
import type { Chaos } from './fault.ts';
import { name, pick } from '../random.ts';

/** A write that waits for another person's yes, and says in its request which ticket it is for. */
export const changeTool = `name: change
description: Sets how many replicas one service has, for a ticket.
effect: write
repeatable: false
environments: [test]
parameters:
  type: object
  additionalProperties: false
  required: [service, mark]
  properties:
    service: { type: string }
    mark: { type: string }

request:
  method: POST
  target: systems
  path: /systems/services/{{service}}/scale
  headers: { Authorization: { secret: systems-token, prefix: 'Bearer ' } }
  body: { replicas: 2, mark: '{{mark}}' }
`;

/** Every tenth conversation is one where changes are asked for and approved; in it answers are told apart by tickets. */
export const isGoverned = (conversation: number): boolean => conversation % 10 === 0;
export const conversationId = (conversation: number): string =>
  conversation % 40 === 7 ? roomOf('stream') : conversation % 40 === 13 ? roomOf('both') : extraRoom(conversation);
const robotOf = (conversation: number): string =>
  conversation % 40 === 7 ? 'stream' : conversation % 40 === 13 ? 'both' : 'http';

export const newMark = (random: () => number): string => `/q-${name(random)}`;
export const newTicket = (random: () => number): string => `w-${name(random)}`;

const codeWaitMs = 60_000;

/**
 * What people do while a fault is in force: each conversation says one to three things over `spreadMs`, in order: commands
 * whose answer repeats their mark, words for the model, help, reads, and changes that another person approves. Resolves
 * when everything is said and every change is decided.
 */
export async function runLoad(chaos: Chaos, o: { conversations: number; spreadMs: number }): Promise<void> {
  await Promise.all(
    Array.from({ length: o.conversations }, async (_, conversation) => {
      const startMs = chaos.random() * o.spreadMs;
      const lines = planLines(chaos.random, conversation);
      await delay(startMs);
      for (const line of lines) {
        if (line.startsWith('/run change'))
          await requestChange(chaos, { room: conversationId(conversation), text: line });
        else await say(chaos, conversation, line);
      }
    }),
  );
}

function planLines(random: () => number, conversation: number): string[] {
  if (isGoverned(conversation)) return [`/run change service=payments mark=${newTicket(random)}`];
  return Array.from({ length: 1 + Math.floor(random() * 2) }, () =>
    pick(random, [
      ...[() => newMark(random), () => newMark(random), () => `please ${newMark(random)}`],
      ...[() => '/help', () => '/run service_status service=payments'],
    ])(),
  );
}

async function say({ stack }: Chaos, conversation: number, text: string): Promise<void> {
  await stack.say({ robot: robotOf(conversation), room: conversationId(conversation), staffId: people.li, text });
}

/** Li asks, Han says yes to the code that the room was shown. */
export async function requestChange(chaos: Chaos, o: { room: string; text: string }): Promise<void> {
  const code = await askForChange(chaos, o);
  if (code !== null) await decide(chaos, { room: o.room, text: `/approve ${code}` });
}

/** Resolves with the code of the request, or null when none was shown in time (the checker judges that). */
export async function askForChange({ stack }: Chaos, o: { room: string; text: string }): Promise<string | null> {
  const since = await stack.lastLine();
  await stack.say({ robot: 'http', room: o.room, staffId: people.li, text: o.text });
  const ticket = ticketOf(o.text);
  const find = async () => {
    const lines = await stack.simulator.control.messages({ since, conversationId: o.room });
    return lines.map(({ text }) => (ticketOf(text) === ticket ? codeOf(text) : null)).find((code) => code !== null);
  };
  for (const until = Date.now() + codeWaitMs; Date.now() < until;) {
    const code = await find();
    if (code !== undefined) return code;
    await delay(150);
  }
  return null;
}

export async function decide({ stack }: Chaos, o: { room: string; text: string; staffId?: string }): Promise<void> {
  await stack.say({ robot: 'http', room: o.room, staffId: o.staffId ?? people.han, text: o.text });
}
