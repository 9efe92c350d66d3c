/** Runs one SQL statement with `$1` parameters and returns its rows: all that this package knows of a database. */
export type Query = <T>(text: string, values?: readonly unknown[]) => Promise<T[]>;

/** Runs `work` in one transaction (read committed), so that it ends whole or not at all. */
export type Transact = <T>(work: (query: Query) => Promise<T>) => Promise<T>;
