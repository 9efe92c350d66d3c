import type { Canary, CollectedText } from './run-facts.ts';

/** What is too short to be looked for would be found by accident. */
const shortest = 10;

/**
 * Names the kind of each planted secret and the place it was found in; never the secret itself. A secret is looked for as
 * it is and as it stands in JSON and in a URL. Throws when a canary is too short to mean anything.
 */
export function findLeaks(texts: readonly CollectedText[], canaries: readonly Canary[]): string[] {
  const short = canaries.find(({ text }) => text.length < shortest);
  if (short !== undefined) throw new Error(`the canary ${short.kind} is too short to look for`);
  const found = new Set<string>();
  const sought = canaries.map((canary) => ({ ...canary, forms: formsOf(canary.text) }));
  for (const { place, text } of texts) {
    for (const canary of sought) {
      if (canary.lawfulIn?.includes(place) === true) continue;
      if (canary.forms.some((form) => text.includes(form))) found.add(`${canary.kind} in ${place}`);
    }
  }
  return [...found];
}

const formsOf = (secret: string): string[] => [
  ...new Set([secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)]),
];
