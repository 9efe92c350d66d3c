/** The names of the arguments that a text of a tool's file asks for, as `{{name}}`. Pure. */
export function placeholdersIn(text: string): string[] {
  return [...text.matchAll(/\{\{([A-Za-z][A-Za-z0-9_]{0,63})\}\}/g)].map(([, name = '']) => name);
}

/** The argument that a text consists of, so that its value keeps its type; null for any other text. Pure. */
export function wholePlaceholder(text: string): string | null {
  return /^\{\{([A-Za-z][A-Za-z0-9_]{0,63})\}\}$/.exec(text)?.[1] ?? null;
}
