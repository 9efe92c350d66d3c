import { appendFileSync } from 'node:fs';
import path from 'node:path';
import { columns } from '@steward/testkit';
import type { FaultResult } from './run-fault.ts';

const file = path.resolve(import.meta.dirname, '../../docs/chaos.md');

const numbersOf = ({ faults }: FaultResult): string => faults.map(({ number }) => number).join('+');

/** What a person reads while it runs; a failure says how to replay it. */
export function describeResult(result: FaultResult): string[] {
  const { faults, seed, verdict, seen, report, durationMs } = result;
  const counts = report === null ? '' : columns.map((name) => `${name} ${report.counts[name]}`).join('  ');
  const title = faults.map(({ number, name }) => `${number} ${name}`).join(' + ');
  const lines = [
    `${verdict === 'kept' ? 'ok    ' : 'FAILED'} fault ${title} (seed ${seed}, ${(durationMs / 1_000).toFixed(1)} s)`,
    `       ${counts}`,
    `       ${verdict === 'not injected' ? 'NOT INJECTED: ' : ''}${seen}`,
  ];
  if (verdict === 'kept') return lines;
  return [
    ...lines,
    ...(report?.findings ?? []).map(({ column, text }) => `       ${column}: ${text}`),
    `       replay: make chaos FAULT=${numbersOf(result)} SEED=${seed}`,
  ];
}

/** Adds a line for each run to the table of docs/chaos.md. */
export function recordResults(results: readonly FaultResult[], o: { date: Date; commit: string }): void {
  const lines = results.map((result) => {
    const { seed, verdict, report } = result;
    const counts = columns.map((name) => report?.counts[name] ?? '–');
    const cells = [
      o.date.toISOString().slice(0, 16).replace('T', ' '),
      o.commit,
      numbersOf(result),
      seed,
      ...counts,
      verdict,
    ];
    return `| ${cells.join(' | ')} |`;
  });
  appendFileSync(file, `${lines.join('\n')}\n`);
}
