import { degradeMarkdown } from './degrade-markdown.ts';
import { splitText } from './split-text.ts';

/** What a robot can say by every door. */
export type OutgoingContent = { kind: 'text'; text: string } | { kind: 'markdown'; title: string; text: string };

/** People to notify; only webhooks can. The platform takes 50. */
export type Mentions = { staffIds: readonly string[] };

/** DingTalk's own limits, in bytes of the encoded body (field reports) and of msgParam (official docs, group send). */
export const webhookBodyLimitBytes = 20_000;
export const msgParamLimitBytes = 15_000;
const maxMentions = 50;

/**
 * The body for a session webhook or a custom robot. Markdown is degraded to what phones show, and its `<` escaped: raw HTML blanks
 * the message there.
 * A mention notifies only if the text names it too, so missing names are put in front.
 */
export function renderWebhookBody(
  content: OutgoingContent,
  mentions: Mentions = { staffIds: [] },
): Record<string, unknown> {
  const atUserIds = mentions.staffIds.slice(0, maxMentions);
  const text = nameMentioned(escapeText(content), atUserIds);
  const at = atUserIds.length === 0 ? {} : { at: { atUserIds, isAtAll: false } };
  return content.kind === 'text'
    ? { msgtype: 'text', text: { content: text }, ...at }
    : { msgtype: 'markdown', markdown: { title: content.title, text }, ...at };
}

/** The key and the JSON text for OpenAPI sends, which cannot mention anybody. */
export function renderOpenApiContent(content: OutgoingContent): { msgKey: string; msgParam: string } {
  const text = escapeText(content);
  return content.kind === 'text'
    ? { msgKey: 'sampleText', msgParam: JSON.stringify({ content: text }) }
    : { msgKey: 'sampleMarkdown', msgParam: JSON.stringify({ title: content.title, text }) };
}

/**
 * Cuts content into parts of which each fits, rendered with these mentions, into `maxBytes` by every door. The parts
 * are already escaped; rendering them again changes nothing.
 */
export function splitContent(
  content: OutgoingContent,
  o: { maxBytes: number; mentions?: Mentions },
): OutgoingContent[] {
  const shell = renderWebhookBody({ ...content, text: '' }, o.mentions);
  const shellBytes = Buffer.byteLength(JSON.stringify(shell));
  return splitText(escapeText(content), { maxBytes: o.maxBytes - shellBytes }).map((text) => ({ ...content, text }));
}

function escapeText(content: OutgoingContent): string {
  return content.kind === 'text' ? content.text : degradeMarkdown(content.text).replaceAll('<', '&lt;');
}

function nameMentioned(text: string, staffIds: readonly string[]): string {
  const words = text.split(/\s+/);
  const missing = staffIds.filter((staffId) => !words.includes(`@${staffId}`));
  return missing.length === 0 ? text : `${missing.map((staffId) => `@${staffId}`).join(' ')} ${text}`;
}
