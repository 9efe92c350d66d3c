import { createHash } from 'node:crypto';
import pg from 'pg';

/** A statement that was made this often is worth keeping on the server; what is made once (a migration, an odd list) is not. */
const preparedAfter = 5;
/** Statements kept on each connection, and texts counted, at the most: lists of any length make many texts. */
const maxPrepared = 200;
const maxCounted = 1_000;
/** "cached plan must not change result type": a migration changed a column under a statement that was kept. */
const planChanged = '0A000';

/**
 * The class of a pool's clients: each statement is reported to `onStatement`, BEGIN and COMMIT too, and statements with
 * parameters that come again and again are prepared once for each connection instead of parsed and planned each time
 * (the statements of a turn are planned in more time than they run).
 */
export function createPreparedClient(onStatement: () => void): typeof pg.Client {
  const counts = new Map<string, number>();
  const names = new Map<string, string>();
  const refused = new Set<string>();

  const nameOf = (text: string): string | undefined => {
    const name = names.get(text);
    if (name !== undefined || refused.has(text)) return name;
    if (names.size >= maxPrepared) return undefined;
    const count = (counts.get(text) ?? 0) + 1;
    if (count < preparedAfter) {
      if (counts.size >= maxCounted) counts.clear();
      counts.set(text, count);
      return undefined;
    }
    counts.delete(text);
    names.set(text, createHash('sha256').update(text).digest('hex').slice(0, 32));
    return names.get(text);
  };

  class PreparedClient extends pg.Client {
    // pg declares a dozen overloads of `query`; all that is not a text with parameters passes through as it came.
    override query(...args: unknown[]): never {
      onStatement();
      const [text, values, ...rest] = args;
      const pass = super.query.bind(this) as (...given: unknown[]) => unknown;
      const name = typeof text === 'string' && Array.isArray(values) && values.length > 0 ? nameOf(text) : undefined;
      if (name === undefined || rest.length > 0) return pass(...args) as never;
      const made = pass({ name, text, values }) as Promise<unknown>;
      return made.catch((error: unknown) => {
        if (isPlanChanged(error)) forget(text as string);
        throw error;
      }) as never;
    }
  }

  function forget(text: string): void {
    names.delete(text);
    refused.add(text);
  }

  return PreparedClient;
}

const isPlanChanged = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === planChanged;
