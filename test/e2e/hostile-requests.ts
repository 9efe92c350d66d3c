import { addBodies } from './hostile/bodies.ts';
import { addOtherDoors } from './hostile/other-doors.ts';
import { addProofs } from './hostile/proofs.ts';
import { createTable, type HostileRequest, type Known } from './hostile/request.ts';
import { addWire } from './hostile/wire.ts';

/** All hostile requests, each different, in families. Those that are rightly accepted are there too: they look hostile and are not. */
export function buildHostileRequests(known: Known): HostileRequest[] {
  const table = createTable(known);
  addProofs(table);
  addBodies(table);
  addWire(table);
  addOtherDoors(table);
  return table.all;
}
