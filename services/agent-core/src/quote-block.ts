/**
 * What somebody wrote, as a quotation of several lines in our Markdown: each line stays one, and no link, emphasis, heading,
 * picture, mention, or end of the quotation comes of it. Nothing is cut: who approves a text approves all of it. Special
 * characters become their full-width twins, since DingTalk documents no escape for them. Pure.
 */
export function quoteBlock(text: string): string {
  return text
    .split(/\r\n|[\n\r\v\f\u0085\u2028\u2029]/)
    .map((line) => `> ${toPlainLine(line)}`.trimEnd())
    .join('\n>\n');
}

function toPlainLine(line: string): string {
  const visible = line.toWellFormed().replace(/[\p{Cc}\p{Cf}]+/gu, ' ');
  // A list, a rule or a number at the beginning would end the quotation on some clients.
  return visible
    .trim()
    .replace(/[[\]()!*#<>`@~|\\]|(?<![a-z0-9])_|_(?![a-z0-9])|^[-+=]|(?<=^\d{1,9})\./gi, toFullWidth);
}

/** The full-width forms stand in the order of ASCII (Unicode, block Halfwidth and Fullwidth Forms). */
const toFullWidth = (character: string) => String.fromCharCode(character.charCodeAt(0) + 0xfee0);
