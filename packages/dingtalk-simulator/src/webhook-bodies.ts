import { objectOf, textField } from './reply.ts';

/** The message types of a webhook and the fields each must carry (reference section 5.1). */
const webhookFields: Record<string, string[]> = {
  text: ['content'],
  markdown: ['title', 'text'],
  link: ['title', 'text', 'messageUrl'],
  actionCard: ['title', 'text'],
  feedCard: [],
};

export type WebhookText = { msgtype: string; text: string; content: Record<string, unknown>; mentions: string[] };

/** What a webhook body says, `type` when its msgtype is unknown, `fields` when a required field is missing. */
export function readWebhookBody(body: Record<string, unknown>): WebhookText | { refused: 'type' | 'fields' } {
  const msgtype = textField(body, 'msgtype');
  const fields = Object.hasOwn(webhookFields, msgtype) ? webhookFields[msgtype] : undefined;
  if (fields === undefined) return { refused: 'type' };
  const content = objectOf(body[msgtype]);
  if (fields.some((name) => typeof content[name] !== 'string')) return { refused: 'fields' };
  if (msgtype === 'feedCard' && !Array.isArray(content.links)) return { refused: 'fields' };
  const text = readText(content);
  return { msgtype, text, content, mentions: readMentions(objectOf(body.at), msgtype, text) };
}

/** The words a reader sees first in any message body. */
export function readText(content: Record<string, unknown>): string {
  if (Array.isArray(content.links)) return content.links.map((row) => textField(objectOf(row), 'title')).join('\n');
  return textField(content, 'content') || textField(content, 'text') || textField(content, 'title');
}

/** `at` only reaches someone whose id or number is also written in the text; link and feedCard cannot @ at all. */
function readMentions(at: Record<string, unknown>, msgtype: string, text: string): string[] {
  if (msgtype === 'link' || msgtype === 'feedCard') return [];
  const listed = [at.atUserIds, at.atMobiles, at.atDingtalkIds].flatMap((ids) =>
    Array.isArray(ids) ? ids.map(String) : [],
  );
  return [...(at.isAtAll === true ? ['@all'] : []), ...listed.filter((id) => text.includes(`@${id}`)).slice(0, 50)];
}
