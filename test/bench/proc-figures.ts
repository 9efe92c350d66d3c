import { readFileSync, readdirSync } from 'node:fs';

/** Ticks per second of the times in /proc: fixed at 100 for programs on every Linux architecture (man 5 proc, USER_HZ). */
const ticksPerSecond = 100;

type Stat = { parent: number; ticks: number; reapedTicks: number };

/** CPU-seconds that a process has used so far, with every child it has and had. Linux only. */
export function readCpuSeconds(pid: number): number {
  const all = new Map(listPids().flatMap((each) => readStat(each)));
  const tree = [pid];
  // The list grows while it is walked: children of children are found too.
  for (const parent of tree) for (const [child, stat] of all) if (stat.parent === parent) tree.push(child);
  return tree.reduce((sum, each) => sum + sumTicks(all.get(each)), 0) / ticksPerSecond;
}

/** Resident memory of one process in MiB (VmRSS). */
export function readRssMb(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) / 1024;
}

/** Seconds of all cores together since boot: what was taken by this machine's programs, and by its host (steal). */
export function readMachineSeconds(): { busy: number; stolen: number; total: number } {
  const [, ...fields] = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.trim().split(/\s+/) ?? [];
  const [user = 0, nice = 0, system = 0, idle = 0, ioWait = 0, irq = 0, softIrq = 0, stolen = 0] = fields.map(
    (ticks) => Number(ticks) / ticksPerSecond,
  );
  const busy = user + nice + system + irq + softIrq;
  return { busy, stolen, total: busy + stolen + idle + ioWait };
}

function listPids(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}

/** Nothing for a process that ended between the listing and the look. */
function readStat(pid: number): [number, Stat][] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name stands in brackets and may contain anything; fields 3 and on follow the last one.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const ticks = (first: number) => Number(fields[first - 3]) + Number(fields[first - 2]);
    return [[pid, { parent: Number(fields[1]), ticks: ticks(14), reapedTicks: ticks(16) }]];
  } catch {
    return [];
  }
}

function sumTicks(stat: Stat | undefined): number {
  return stat === undefined ? 0 : stat.ticks + stat.reapedTicks;
}
