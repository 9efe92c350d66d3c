/** Characters that draw nothing, or draw elsewhere than they stand: control, format, unassigned, odd spaces and separators. */
const hidden = /[^\P{C}\n\t]|[\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

/**
 * A text in which nothing hides: what would move the cursor, colour, reverse or vanish in a terminal is shown as `\u{…}`.
 * A line break counts as hidden too unless `lines`. Pure.
 */
export function toVisible(text: string, o: { lines?: boolean } = {}): string {
  const shown = text.replace(hidden, escape);
  return o.lines === true ? shown : shown.replace(/[\n\t]/g, escape);
}

const escape = (character: string): string => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;

/** A value as JSON, every byte of it, with nothing hidden: its own backslashes are doubled, so ours cannot be imitated. Pure. */
export const toVisibleJson = (value: unknown): string => toVisible(JSON.stringify(value, null, 2), { lines: true });
