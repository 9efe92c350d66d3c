import { createHash } from 'node:crypto';

export type Utterance = { speaker: 'person' | 'robot'; name: string; text: string };
export type PromptMessage = { role: 'system' | 'user' | 'assistant'; content: string };

/** No single utterance may crowd out the rest of the window. */
const maxUtteranceLength = 4_000;

/**
 * The prompt of a turn: the system text with who asks and where, then the window of the conversation. Names and texts of
 * people are content, never instructions: they stand in the user role, each line fenced by the speaker's name.
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
      const content = text.slice(0, maxUtteranceLength).toWellFormed();
      return speaker === 'robot'
        ? { role: 'assistant', content }
        : { role: 'user', content: `${oneLine(name)}: ${content}` };
    }),
  ];
  return { messages, hash: createHash('sha256').update(o.systemText).digest('hex') };
}

const oneLine = (text: string) => text.replace(/\s+/g, ' ').slice(0, 80).toWellFormed();
