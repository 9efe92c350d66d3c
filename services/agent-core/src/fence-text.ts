/** Where a piece of data comes from. Only `skill` is written by the operators of this installation. */
export type FencedKind = 'person' | 'result' | 'skill';

/** Every character that ends a line somewhere. */
const lineBreak = /\r\n|[\r\v\f\u0085\u2028\u2029]/g;

/**
 * What nobody sees and a model still reads: control characters but for line breaks and tabs, direction marks, zero-width
 * characters, tags and variation selectors. The zero-width joiners stay: scripts and emoji need them.
 */
const unseen = new RegExp(
  `[${[
    '\\ufe00-\\ufe0e\\u0000-\\u0008\\u000e-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f',
    '\\u202a-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\u{e0000}-\\u{e0fff}',
  ].join('')}]`,
  'gu',
);

/** The text without what cannot be seen, with one kind of line break. Characters are not folded: an id stays as it is. */
export function cleanText(text: string): string {
  return text.toWellFormed().replace(lineBreak, '\n').replace(unseen, '');
}

/** The same as one line of at most so many characters. */
export function cleanLine(text: string, maxLength: number): string {
  return cut(
    cleanText(text.slice(0, maxLength * 4))
      .replace(/\s+/g, ' ')
      .trim(),
    maxLength,
  );
}

/** At most so many characters; says so where something is missing, and cuts no character in half. */
export function cutText(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text;
  const note = '\n[cut here]';
  return cut(text, Math.max(0, maxLength - note.length)) + note;
}

/** A cut may leave half a character, which is dropped. */
const cut = (text: string, maxLength: number) => text.slice(0, maxLength).replace(/[\ud800-\udbff]$/, '');

/**
 * Data between two lines that carry the fence, a random text of this one request. The data cannot hold the fence:
 * wherever it does, in any case, it is taken out. `label` is shown in quotes, as one short line.
 */
export function fenceText(o: {
  fence: string;
  kind: FencedKind;
  label: string;
  text: string;
  maxLength: number;
}): string {
  const label = JSON.stringify(withoutFence(cleanLine(o.label, 80), o.fence));
  // Cut first: cleaning a huge text costs, and what is taken out later only makes it shorter.
  const text = withoutFence(cleanText(cutText(o.text, o.maxLength)), o.fence);
  return `[${o.fence} ${o.kind} ${label}]\n${text}\n[/${o.fence}]`;
}

/** The text without the fence. What stands in its place cannot become part of another one: a fence is hex. */
export function withoutFence(text: string, fence: string): string {
  return text.replace(new RegExp(fence, 'gi'), '[…]');
}
