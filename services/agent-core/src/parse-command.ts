import type { Lane } from '@steward/contracts';

/** Longer than this is no command that anybody means. */
const maxNameLength = 32;

/** What a person asked for: a command, or words for the agent. */
export type Parsed = { kind: 'command'; name: string; argument: string } | { kind: 'words'; text: string };

/**
 * Commands that only look at or steer Steward itself: they have a lane of their own and never wait for the turn that
 * waits for them. Aliases are what people really type.
 */
const aliases = new Map(
  Object.entries({
    help: 'help',
    h: 'help',
    帮助: 'help',
    ping: 'ping',
    whoami: 'whoami',
    我是谁: 'whoami',
    status: 'status',
    状态: 'status',
    room: 'room',
    群: 'room',
  }),
);

const commands = new Set(aliases.values());

/** Whether a command's name is one that Steward answers. */
export const isKnownCommand = (name: string): boolean => commands.has(name);

/**
 * Reads a command as people type it: `/help`, `／help` with a full-width slash, full-width spaces, any case, Chinese
 * names, and with the robot's @ still in front. Anything that does not start with a slash is words, and so are a path
 * and a link: "/var/log is full" is a sentence.
 */
export function parseCommand(text: string): Parsed {
  const plain = text
    .replace(/[\u3000\u00a0]/g, ' ')
    .replace(/^(@\S+\s+)+/, '')
    .trim();
  const match = /^[/／]\s*(\S+)\s*([\s\S]*)$/.exec(plain);
  if (!match) return { kind: 'words', text: plain };
  const [, typed = '', argument = ''] = match;
  const folded = typed.normalize('NFKC').toLowerCase();
  if (folded.length > maxNameLength || /[/.[(]/.test(folded)) return { kind: 'words', text: plain };
  return { kind: 'command', name: aliases.get(folded) ?? folded, argument: argument.trim() };
}

/** The lane of what a person sent. Every known command is control; an unknown one waits its turn like words. */
export function laneOf(parsed: Parsed): Lane {
  return parsed.kind === 'command' && isKnownCommand(parsed.name) ? 'control' : 'answer';
}
