import type { Logger } from '@steward/service-kit';
import type { Db } from '@steward/postgres';
import { holdOf, renewLeases, type ClaimedTurn } from './claim-turn.ts';
import type { AgentTables } from './database.ts';

/** The turns that this process works on, kept from others by one heartbeat for all of them. */
export type Leases = {
  /** Keeps a turn until it is let go. The signal aborts when another process has it. */
  hold(turn: ClaimedTurn): { signal: AbortSignal; release: () => void };
  /**
   * Resolves when the last heartbeat is no older than it should be. Whoever was late (a long pause, a busy event loop) says
   * first that it is there, and only then looks for work: it would find its own turns. Rejects when it cannot say so.
   */
  catchUp(): Promise<void>;
};

/** Four heartbeats in a lease: three may fail. */
export const heartbeatMs = 1_000;

/**
 * Holds leases by a heartbeat each second, while there is something to hold. A heartbeat that fails is logged and costs
 * nothing yet; one that says that a turn has gone aborts the work on it.
 */
export function createLeases(o: {
  db: Db<AgentTables>;
  log: Logger;
  /** Milliseconds of a clock that only goes forward, also while the process is paused. */
  clockMs?: () => number;
}): Leases {
  const clockMs = o.clockMs ?? (() => performance.now());
  const held = new Map<string, { turn: ClaimedTurn; lost: AbortController }>();
  let beatAtMs = 0;
  let beating: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;

  const beat = async (): Promise<void> => {
    const startedMs = clockMs();
    const asked = [...held];
    const kept = await renewLeases(
      o.db,
      asked.map(([, { turn }]) => turn),
    );
    beatAtMs = startedMs;
    for (const [key, { lost }] of asked) {
      // What was let go meanwhile is nobody's loss.
      if (kept.has(key) || !held.has(key)) continue;
      held.delete(key);
      lost.abort();
    }
  };
  const beatOnce = (): Promise<void> => {
    beating ??= beat().finally(() => (beating = undefined));
    return beating;
  };

  return {
    hold: (turn) => {
      const key = holdOf(turn);
      const lost = new AbortController();
      if (held.size === 0) beatAtMs = clockMs();
      held.set(key, { turn, lost });
      timer ??= setInterval(() => {
        beatOnce().catch((error: unknown) => o.log.warn('turn.lease.unrenewed', { turns: held.size, error }));
      }, heartbeatMs);
      return {
        signal: lost.signal,
        release: () => {
          held.delete(key);
          if (held.size > 0) return;
          clearInterval(timer);
          timer = undefined;
        },
      };
    },
    catchUp: async () => {
      if (held.size > 0 && clockMs() - beatAtMs > 2 * heartbeatMs) await beatOnce();
    },
  };
}
