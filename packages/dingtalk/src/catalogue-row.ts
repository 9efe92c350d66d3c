import type { OutcomeScope, SendRefused } from './send-outcome.ts';

/** One line of the catalogue: what a code means to a sender. A code ending in `*` stands for all that begin so. */
export type CatalogueRow = {
  name: string;
  codes: readonly string[];
  kind: SendRefused['kind'];
  text: string;
  scope?: OutcomeScope;
  retryAfterMs?: number;
};

/** The row of a code: an exact one before one that ends in `*`. */
export function findRow(rows: readonly CatalogueRow[], code: string): CatalogueRow | undefined {
  return (
    rows.find((row) => row.codes.includes(code)) ??
    rows.find((row) => row.codes.some((known) => known.endsWith('*') && code.startsWith(known.slice(0, -1))))
  );
}
