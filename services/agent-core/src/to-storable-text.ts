/**
 * The same text with everything replaced by U+FFFD that Postgres refuses to store: NUL, and halves of surrogate pairs.
 * Whatever was written elsewhere (a model, a text that was cut) goes through here before it becomes a row.
 */
export function toStorableText(text: string): string {
  return text.replaceAll('\u0000', '\uFFFD').toWellFormed();
}
