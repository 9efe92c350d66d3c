/** The longest id of the contract: an id is never cut. */
const maxLength = 200;

/**
 * What a person or the platform wrote, as one line of plain text in our Markdown: no link, emphasis, heading, quotation
 * or mention comes of it. Special characters become their full-width twins, since DingTalk documents no escape for
 * them. An `_` inside a word means nothing in Markdown and stays: ids can be copied.
 */
export function quoteForMarkdown(text: string): string {
  const line = text.replace(/[\s\p{Cc}\u202a-\u202e\u2066-\u2069]+/gu, ' ').trim();
  const plain = line.replace(/[[\]()!*#<>`@]|(?<![a-z0-9])_|_(?![a-z0-9])/gi, toFullWidth);
  return Array.from(plain).slice(0, maxLength).join('');
}

/** The full-width forms stand in the order of ASCII (Unicode, block Halfwidth and Fullwidth Forms). */
const toFullWidth = (character: string) => String.fromCharCode(character.charCodeAt(0) + 0xfee0);
