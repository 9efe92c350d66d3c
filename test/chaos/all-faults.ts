import type { Fault } from './fault.ts';
import {
  alteredBody,
  disorder,
  killAfterCommit,
  killBeforeCommit,
  lateRedelivery,
  sameCallback,
} from './faults/adapter-faults.ts';
import { contestedApprovals, killAfterEffect, twoClaims, zombie } from './faults/agent-faults.ts';
import { fullDisk } from './faults/disk-fault.ts';
import { floodOfOne, hostileSystem, lostResponse, storm } from './faults/outside-faults.ts';
import { crashPostgres, cutAfterCommit, starvePostgres } from './faults/postgres-faults.ts';
import { alarmRabbit, closedChannel, crashRabbit, deletedQueue, noConfirms, poison } from './faults/rabbit-faults.ts';
import { rollingRestart } from './faults/rolling-faults.ts';

/** By number. A number between 1 and 25 that is not here is not implemented, and the runner says so. */
export const allFaults: readonly Fault[] = [
  killAfterCommit,
  killBeforeCommit,
  sameCallback,
  alteredBody,
  lateRedelivery,
  disorder,
  crashPostgres,
  starvePostgres,
  fullDisk,
  cutAfterCommit,
  crashRabbit,
  alarmRabbit,
  noConfirms,
  closedChannel,
  deletedQueue,
  poison,
  killAfterEffect,
  zombie,
  twoClaims,
  contestedApprovals,
  lostResponse,
  storm,
  hostileSystem,
  floodOfOne,
  rollingRestart,
];

const numbers = Array.from({ length: 25 }, (_, at) => at + 1);
/** The numbers of faults that do not exist yet. */
export const notImplemented: readonly number[] = numbers.filter(
  (one) => !allFaults.some(({ number }) => number === one),
);
