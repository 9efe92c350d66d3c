import { maxOutboundTextLength, type OutboundContent } from '@steward/contracts';
import { toStorableText } from './to-storable-text.ts';

/** The title is what a phone shows in the list of chats. */
export function toMarkdown(text: string): OutboundContent {
  const storable = toStorableText(text.slice(0, maxOutboundTextLength));
  // By code points, so that no character is cut in half.
  const title = Array.from((storable.split('\n', 1)[0] ?? '').replace(/^#+ /, ''))
    .slice(0, 60)
    .join('')
    .trim();
  return { kind: 'markdown', title: title === '' ? 'Steward' : title, text: storable };
}
