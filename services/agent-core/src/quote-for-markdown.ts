/** The longest id of the contract: an id is never cut. */
const maxLength = 200;
const maxLineLength = 500;
/** Spaces, and what nobody sees: controls, direction marks, zero-width characters, fillers. */
const unseen = /[\s\p{Cc}\p{Cf}\p{Cs}\p{DI}\u2800]+/gu;

/**
 * What a person or the platform wrote, as one line of plain text in our Markdown: no link, emphasis, heading, quotation
 * or mention comes of it. Special characters become their full-width twins, since DingTalk documents no escape for
 * them. An `_` inside a word means nothing in Markdown and stays: ids can be copied.
 */
export function quoteForMarkdown(text: string): string {
  return quoteLine(text, maxLength);
}

/** The same for text of several lines, such as a tool's output: each line is quoted, empty ones fall away. */
export function quoteLines(lines: readonly string[], o: { maxLines: number }): string[] {
  const quoted = lines.map((line) => quoteLine(line, maxLineLength)).filter((line) => line !== '');
  return quoted.length <= o.maxLines ? quoted : [...quoted.slice(0, o.maxLines), '…'];
}

function quoteLine(text: string, length: number): string {
  const line = text.replace(unseen, ' ').trim();
  const plain = line.replace(/[[\]()!*#<>`@~|\\]|&(?=#|[a-z])|(?<![a-z0-9])_|_(?![a-z0-9])/gi, toFullWidth);
  return Array.from(plain).slice(0, length).join('');
}

/** The full-width forms stand in the order of ASCII (Unicode, block Halfwidth and Fullwidth Forms). */
const toFullWidth = (character: string) => String.fromCharCode(character.charCodeAt(0) + 0xfee0);
