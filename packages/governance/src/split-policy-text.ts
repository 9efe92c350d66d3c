/** One policy of a file: its own text (with the comments above it) and the line on which that text begins. */
export type PolicyText = { text: string; line: number };

/**
 * Cuts a Cedar file into its policies. A policy ends with the semicolon that stands in no text and no comment. Cedar itself
 * would return them sorted by a name it makes up, without their lines. Nothing is lost: the pieces together are the file,
 * and what follows the last semicolon is a piece of its own unless it is comments alone.
 */
export function splitPolicyText(text: string): PolicyText[] {
  const pieces: PolicyText[] = [];
  let start = 0;
  // A text in quotes, a comment, a semicolon; whatever is between them is of no interest here.
  for (const { 0: found, index } of text.matchAll(/"(?:[^"\\]|\\[^])*"|\/\/[^\n\r]*|;/g)) {
    if (found !== ';') continue;
    pieces.push({ text: text.slice(start, index + 1), line: lineAt(text, start) });
    start = index + 1;
  }
  const rest = text.slice(start);
  if (!isCommentsOnly(rest)) pieces.push({ text: rest, line: lineAt(text, start) });
  return pieces;
}

/** The number of the line in which this place is, counted from 1. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

const isCommentsOnly = (text: string) => text.replace(/\/\/[^\n\r]*/g, '').trim() === '';
