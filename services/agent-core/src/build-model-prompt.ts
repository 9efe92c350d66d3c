import { createHash } from 'node:crypto';

export type Utterance = { speaker: 'person' | 'robot'; name: string; text: string };
export type PromptMessage = { role: 'system' | 'user' | 'assistant'; content: string };

/** No single utterance may crowd out the rest of the window. */
const maxUtteranceLength = 4_000;

/**
 * The prompt of a turn: the system text with who asks and where, then the window of the conversation. Names and texts of
 * people are content, never instructions: they stand in the user role, each line after the speaker's name.
 */
export function buildModelPrompt(o: {
  systemText: string;
  place: string;
  environment: string;
  clock: string;
  transcript: readonly Utterance[];
}): { messages: PromptMessage[]; hash: string } {
  const facts: Record<string, string> = { place: oneLine(o.place), environment: o.environment, clock: o.clock };
  // One pass with a function: what is filled in is neither searched again nor read as a replacement pattern.
  const system = o.systemText.replace(/\{\{(place|environment|clock)\}\}/g, (_, name: string) => facts[name] ?? '');
  const messages: PromptMessage[] = [
    { role: 'system', content: system },
    ...o.transcript.map(({ speaker, name, text }): PromptMessage => {
      if (speaker === 'robot') return { role: 'assistant', content: cut(text, maxUtteranceLength) };
      const prefix = `${oneLine(name)}: `;
      // On every line, so that a line break cannot begin what another person seems to say.
      const lines = text.slice(0, maxUtteranceLength).split(lineBreak);
      return {
        role: 'user',
        content: cut(lines.map((line) => prefix + line).join('\n'), maxUtteranceLength + prefix.length),
      };
    }),
  ];
  return { messages, hash: createHash('sha256').update(o.systemText).digest('hex') };
}

const lineBreak = /\r\n|[\n\v\f\r\u0085\u2028\u2029]/;
const cut = (text: string, length: number) => text.slice(0, length).toWellFormed();
const oneLine = (text: string) => cut(text.replace(/[\s\u0085]+/g, ' '), 80);
