import type { Logger } from '@steward/service-kit';
import type { Random } from '../random.ts';
import type { Scheduler } from './scheduler.ts';
import type { SimBus } from './sim-bus.ts';
import type { SimDatabase } from './sim-database.ts';

/** What everybody in one seed shares. */
export type World = {
  database: SimDatabase;
  scheduler: Scheduler;
  bus: SimBus;
  random: Random;
  log: Logger;
  now: () => Date;
  /** Still in the time in which things go wrong. */
  isHostile: () => boolean;
  /** Somebody asks for a change here, which people must approve. */
  isGoverned: boolean;
  /** Counts something that befell this seed. */
  meet: (what: string) => void;
};
