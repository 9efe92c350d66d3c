/** Spaces that Markdown would swallow, and Markdown's own signs; `&` begins an entity. An `_` inside a word means nothing. */
const special = '^ | $| (?= )|[\\n\\t[\\]()!*#<>`@~|\\\\&]|(?<![a-z0-9])_|_(?![a-z0-9])';
/** What nobody sees although it is there: controls, format characters, odd spaces, fillers, variation selectors, half characters. */
const unseen = '[\\p{C}\\p{DI}\\p{Zl}\\p{Zp}\\u2800]|(?! )\\p{Zs}';
/** The signs by which something else is shown here: where a text holds one itself, it is written as a number. */
const ours = '[⏎⇥␣]';
const twins = '[［］（）！＊＃＜＞｀＠～｜＼＆＿]';

const toTell = new RegExp([special, unseen, ours].join('|'), 'giu');
const toTellWithTwins = new RegExp([special, unseen, ours, twins].join('|'), 'giu');
const signs = new Map([
  ['\n', '⏎'],
  ['\t', '⇥'],
  [' ', '␣'],
]);

/**
 * A text on one line, with every character of it to be seen: line breaks, tabs and spaces that Markdown would swallow are
 * signs, and what is invisible is a number, `\u{200b}`. Special characters of Markdown become their full-width twins; with
 * `tellTwins` a real twin is a number too, and two different texts never look the same. Nothing is cut.
 */
export function quoteExactly(text: string, o: { tellTwins: boolean }): string {
  return text.replace(
    o.tellTwins ? toTellWithTwins : toTell,
    (character) => signs.get(character) ?? (isSpecial(character) ? toFullWidth(character) : toNumber(character)),
  );
}

const isSpecial = (character: string) => character > ' ' && character < '\u007f';
const toNumber = (character: string) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;

/** The full-width forms stand in the order of ASCII (Unicode, block Halfwidth and Fullwidth Forms). */
const toFullWidth = (character: string) => String.fromCharCode(character.charCodeAt(0) + 0xfee0);
