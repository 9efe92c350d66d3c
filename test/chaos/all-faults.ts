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

/** What cannot be injected here, and why. */
export const notImplemented: ReadonlyMap<number, string> = new Map([
  [9, 'Postgres disk full: needs a small file system of its own, which needs the rights to mount one'],
]);
