export type RecordLog<Row extends { n: number }> = {
  /** Appends and numbers the row from 1; the oldest rows are forgotten beyond the limit. */
  add(row: Omit<Row, 'n'>): Row;
  /** Rows numbered above `since`, oldest first. */
  list(since?: number): Row[];
  /** Says that a row changed, so that waiters look again. */
  touch(): void;
  /** Resolves with the matching rows once there are at least `count`, or with what there is after `timeoutMs`. */
  waitFor(o: { since: number; count: number; timeoutMs: number; matches: (row: Row) => boolean }): Promise<Row[]>;
  /** Forgets all rows; numbers go on, so that `since` of an earlier reader stays right. */
  clear(): void;
  /** Lets every waiter go with what there is. */
  close(): void;
};

/** A numbered list that keeps the newest `limit` rows. */
export function createRecordLog<Row extends { n: number }>(limit: number): RecordLog<Row> {
  let rows: Row[] = [];
  let lastNumber = 0;
  const waiters = new Set<(stop: boolean) => void>();
  const list = (since = 0): Row[] => {
    const first = rows[0];
    return first === undefined ? [] : rows.slice(Math.max(0, since - first.n + 1));
  };
  const touch = (): void => {
    for (const look of [...waiters]) look(false);
  };
  return {
    list,
    touch,
    add: (row) => {
      lastNumber += 1;
      // Row is exactly Omit<Row, 'n'> plus n; TypeScript cannot see that for a type parameter.
      const numbered = { ...row, n: lastNumber } as unknown as Row;
      rows.push(numbered);
      // Trimmed in slices: shifting one row from a long array each time would cost a copy for each call.
      if (rows.length > limit * 1.1 + 16) rows = rows.slice(rows.length - limit);
      touch();
      return numbered;
    },
    waitFor: ({ since, count, timeoutMs, matches }) =>
      new Promise((resolve) => {
        const look = (stop: boolean): void => {
          const found = list(since).filter(matches);
          if (!stop && found.length < count) return;
          clearTimeout(timer);
          waiters.delete(look);
          resolve(found);
        };
        const timer = setTimeout(() => look(true), timeoutMs);
        waiters.add(look);
        look(timeoutMs <= 0);
      }),
    clear: () => {
      rows = [];
    },
    close: () => {
      for (const look of [...waiters]) look(true);
    },
  };
}

/** The rows a request of the control API asks for: later ones than `since`, waited for at most `wait` milliseconds. */
export function readPage<Row extends { n: number }>(
  log: RecordLog<Row>,
  page: { since: number; wait: number; count: number },
  matches: (row: Row) => boolean,
): Promise<Row[]> {
  return log.waitFor({ since: page.since, count: page.count, timeoutMs: page.wait, matches });
}
