import { sql } from 'kysely';
import { AppError, isRetryable, newId } from '@steward/service-kit';
import type { BusMessage, Environment } from '@steward/contracts';
import type { Db } from '@steward/postgres';
import type { AdapterTables } from './database.ts';

/** An inbound event as a door hands it over. `message` is what agent-core will be told; null when it need not know. */
export type NewInbound = {
  id: string;
  kind: 'robot_message' | 'card_click' | 'platform_event';
  source: string;
  sourceId: string | null;
  conversationId: string | null;
  correlationId: string;
  door: 'http' | 'stream';
  transportId: string | null;
  bodyHashHex: string;
  environment: Environment;
  staffId: string | null;
  corpId: string | null;
  message: BusMessage | null;
  /** Why it is recorded and nothing more: an outcome of the audit log. Such an event has no message. */
  ignored?: 'own_echo';
};

export type Recorded = { inboundEventId: string; duplicate: boolean };

export type InboundRecorder = {
  /** Resolves when the event is committed. Rejects with DOOR_OVERLOADED (nothing was kept) or the database's error. */
  record(inbound: NewInbound): Promise<Recorded>;
  pending(): number;
};

type Pending = {
  inbound: NewInbound;
  room: string | null;
  resolve: (recorded: Recorded) => void;
  reject: (error: unknown) => void;
};

/** How long the first event of a batch waits for company. */
const windowMs = 2;
const maxBatch = 200;
/** Batches under way at once: one commits while the next one fills. */
const maxLanes = 2;
/** Beyond this the door answers 503 instead of letting memory grow: about two seconds of work. */
export const maxPending = 2_000;
/** What one room and one robot may have of it, so that a storm in one of them leaves the doors open for the others. */
const maxPendingOfRoom = 200;
const maxPendingOfRobot = 1_000;
/** A race on the same key ends in a unique violation or, with several keys, a deadlock; the second look finds the rows. */
const maxRaces = 5;

/**
 * Records inbound events in batches: whatever arrives within a window, or while earlier batches commit, shares one
 * statement and one fsync. This is where "answered 200" comes to mean "in Postgres".
 */
export function createInboundRecorder(o: {
  db: Db<AdapterTables>;
  onCommitted: () => void;
  /** A known id came again, `count` times, with another body than the one in the ledger. */
  onAltered: (inbound: NewInbound, count: number) => void;
}): InboundRecorder {
  let queue: Pending[] = [];
  const ofRoom = createCounts();
  const ofRobot = createCounts();
  const roomsInHand = new Set<string>();
  let lanes = 0;
  let inHand = 0;
  let timer: NodeJS.Timeout | undefined;

  /** The oldest that may go. What a conversation sends next waits for the batch that holds its last: order of arrival. */
  const takeBatch = (): Pending[] => {
    const batch: Pending[] = [];
    const rest: Pending[] = [];
    for (const pending of queue) {
      const mayGo = batch.length < maxBatch && (pending.room === null || !roomsInHand.has(pending.room));
      (mayGo ? batch : rest).push(pending);
    }
    queue = rest;
    return batch;
  };
  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    while (lanes < maxLanes) {
      const batch = takeBatch();
      if (batch.length === 0) return;
      const rooms = batch.flatMap(({ room }) => room ?? []);
      for (const room of rooms) roomsInHand.add(room);
      lanes += 1;
      inHand += batch.length;
      void settleBatch(o, batch).then((committed) => {
        for (const room of rooms) roomsInHand.delete(room);
        lanes -= 1;
        inHand -= batch.length;
        for (const { inbound, room } of batch) {
          ofRobot.add(inbound.source, -1);
          if (room !== null) ofRoom.add(room, -1);
        }
        if (committed) o.onCommitted();
        flush();
      });
    }
  };

  return {
    pending: () => queue.length + inHand,
    record: (inbound) =>
      new Promise((resolve, reject) => {
        const room = roomOf(inbound);
        const isFull =
          queue.length + inHand >= maxPending ||
          ofRobot.of(inbound.source) >= maxPendingOfRobot ||
          (room !== null && ofRoom.of(room) >= maxPendingOfRoom);
        if (isFull) {
          reject(new AppError('DOOR_OVERLOADED', 'too many events wait to be recorded', { retryable: true }));
          return;
        }
        ofRobot.add(inbound.source, 1);
        if (room !== null) ofRoom.add(room, 1);
        queue.push({ inbound, room, resolve, reject });
        if (lanes === maxLanes) return;
        if (queue.length === maxBatch) flush();
        else timer ??= setTimeout(flush, windowMs);
      }),
  };
}

/** Counts by key; a key that counts nothing takes no memory. */
function createCounts() {
  const counts = new Map<string, number>();
  const of = (key: string): number => counts.get(key) ?? 0;
  return {
    of,
    add: (key: string, by: number): void => {
      const count = of(key) + by;
      if (count === 0) counts.delete(key);
      else counts.set(key, count);
    },
  };
}

const roomOf = ({ source, conversationId }: NewInbound): string | null =>
  conversationId === null ? null : JSON.stringify([source, conversationId]);

type Ledger = { db: Db<AdapterTables>; onAltered: (inbound: NewInbound, count: number) => void };

/** Records a batch and answers everyone in it. Never rejects; says whether anything was committed. */
async function settleBatch(ledger: Ledger, batch: readonly Pending[]): Promise<boolean> {
  const groups = collapseRepeats(batch);
  try {
    const recorded = await recordBatch(ledger.db, groups);
    for (const group of groups) {
      const row = recorded.get(group.first.id);
      if (row && row.altered > 0) ledger.onAltered(group.first, row.altered);
      group.members.forEach((member, index) => {
        if (row === undefined)
          member.reject(new AppError('LEDGER_SILENT', 'the ledger did not answer', { retryable: true }));
        else member.resolve({ inboundEventId: row.inboundEventId, duplicate: row.duplicate || index > 0 });
      });
    }
    return true;
  } catch (error) {
    // One bad row must not fail its neighbours: halve until it stands alone. An absent database fails all at once.
    if (groups.length > 1 && isDataFault(error)) {
      const middle = Math.ceil(groups.length / 2);
      const halves = [groups.slice(0, middle), groups.slice(middle)].map((half) =>
        half.flatMap(({ members }) => members),
      );
      // One after the other: the order of arrival is kept, and a bad batch takes no more connections than a good one.
      let committed = false;
      for (const half of halves) committed = (await settleBatch(ledger, half)) || committed;
      return committed;
    }
    for (const { reject } of batch) reject(error);
    return false;
  }
}

type Group = { first: NewInbound; members: Pending[] };

/** The ledger wants each key once in a batch; the repeats are counted on its row. */
function collapseRepeats(batch: readonly Pending[]): Group[] {
  const groups = new Map<string, Group>();
  for (const pending of batch) {
    const { kind, source, sourceId, id } = pending.inbound;
    const key = JSON.stringify(sourceId === null ? [id] : [kind, source, sourceId]);
    const group = groups.get(key);
    if (group) group.members.push(pending);
    else groups.set(key, { first: pending.inbound, members: [pending] });
  }
  return [...groups.values()];
}

async function recordBatch(
  db: Db<AdapterTables>,
  groups: readonly Group[],
): Promise<Map<string, Recorded & { altered: number }>> {
  const batch = JSON.stringify(
    groups.map(({ first, members: [, ...repeats] }, position) => toRow(first, position, repeats)),
  );
  for (let race = 1; ; race += 1) {
    try {
      const { rows } = await sql<{ given_id: string; inbound_event_id: string; duplicate: boolean; altered: number }>`
        select given_id, inbound_event_id, duplicate, altered from adapter.record_inbound(${batch}::jsonb)`.execute(db);
      return new Map(
        rows.map(({ given_id, inbound_event_id: inboundEventId, duplicate, altered }) => [
          given_id,
          { inboundEventId, duplicate, altered },
        ]),
      );
    } catch (error) {
      if (race === maxRaces || !isRace(error)) throw error;
    }
  }
}

function toRow(inbound: NewInbound, position: number, repeats: readonly Pending[]) {
  return {
    id: inbound.id,
    position,
    kind: inbound.kind,
    source: inbound.source,
    source_id: inbound.sourceId,
    conversation_id: inbound.conversationId,
    correlation_id: inbound.correlationId,
    door: inbound.door,
    transport_id: inbound.transportId,
    body_hash_hex: inbound.bodyHashHex,
    repeat_hashes: repeats.map((repeat) => repeat.inbound.bodyHashHex),
    message: inbound.message,
    audit_id: newId(),
    environment: inbound.environment,
    staff_id: inbound.staffId,
    corp_id: inbound.corpId,
    ignored: inbound.ignored ?? null,
  };
}

/** 23505 unique_violation, 40P01 deadlock_detected: the same ids were recorded by somebody else just now. */
function isRace(error: unknown): boolean {
  return ['23505', '40P01'].includes(sqlStateOf(error) ?? '');
}

/** Class 22 (data exception), 23 (constraint), 54 (too big): the rows are to blame, not the server. */
function isDataFault(error: unknown): boolean {
  return isRetryable(error) && /^(22|23|54)/.test(sqlStateOf(error) ?? '');
}

function sqlStateOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
