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
    quota: 'quota',
    配额: 'quota',
    room: 'room',
    群: 'room',
    tools: 'tools',
    工具: 'tools',
    skills: 'skills',
    技能: 'skills',
    approve: 'approve',
    同意: 'approve',
    批准: 'approve',
    deny: 'deny',
    reject: 'deny',
    拒绝: 'deny',
    驳回: 'deny',
    pending: 'pending',
    待审批: 'pending',
    show: 'show',
    查看: 'show',
    cancel: 'cancel',
    取消: 'cancel',
    stop: 'stop',
    停止: 'stop',
    freeze: 'freeze',
    冻结: 'freeze',
    unfreeze: 'unfreeze',
    解冻: 'unfreeze',
    breakglass: 'breakglass',
    紧急放行: 'breakglass',
    review: 'review',
    复核: 'review',
    run: 'run',
    执行: 'run',
    skill: 'skill',
  }),
);

const commands = new Set(aliases.values());
/** Commands that take as long as what they call: they wait their turn like words. */
const slowCommands = new Set(['run', 'skill']);

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

/**
 * The same for what a person sent, with what it quotes: people also decide in plain words, `同意 7F3K`, `拒绝 7F3K 原因`. The
 * bare word under a quoted request is answered with that request, and decides nothing: whose line a quotation is, and
 * whether it is whole, is not told by the platform.
 */
export function parseInbound(content: { text: string; quotedText: string | null }): Parsed {
  const parsed = parseCommand(content.text);
  if (parsed.kind === 'command') return parsed;
  const [, word = '', rest = ''] = /^(同意|批准|拒绝|驳回)[\s:,：，]*([\s\S]*)$/.exec(parsed.text) ?? [];
  const name = aliases.get(word);
  if (name === undefined) return parsed;
  if (/^[A-Za-z0-9]{4}(?![A-Za-z0-9])/.test(rest.normalize('NFKC')))
    return { kind: 'command', name, argument: rest.trim() };
  const quoted = new Set(
    [...(content.quotedText ?? '').matchAll(/\/approve ([2-9A-Z]{4})\b/g)].map(([, code]) => code),
  );
  const [code] = quoted;
  // A quotation that names several requests, such as a list of them, means none in particular.
  return code === undefined || quoted.size > 1 ? parsed : { kind: 'command', name: 'show', argument: code };
}

/** The lane of what a person sent. A command is control unless it calls something; an unknown one waits its turn like words. */
export function laneOf(parsed: Parsed): Lane {
  const isControl = parsed.kind === 'command' && isKnownCommand(parsed.name) && !slowCommands.has(parsed.name);
  return isControl ? 'control' : 'answer';
}

/** `key=value …` as people type it: quotes hold spaces together, full-width signs count. Null when a word is no pair. */
export function parsePairs(argument: string): Record<string, string> | null {
  const pairs: [string, string][] = [];
  let rest = argument.trim();
  while (rest !== '') {
    const match = /^([A-Za-z_][\w-]{0,63})\s*[=＝]\s*(?:"([^"]*)"|“([^”]*)”|'([^']*)'|(\S+))(?:\s+|$)/.exec(rest);
    if (!match) return null;
    const [whole, name = '', ...values] = match;
    pairs.push([name, values.find((value: string | undefined) => value !== undefined) ?? '']);
    rest = rest.slice(whole.length);
  }
  return Object.fromEntries(pairs);
}
