import type { OwnServers, TcpProxy } from '@steward/testkit';
import type { FakeModel } from '../e2e/fake-model.ts';
import type { Stack } from '../e2e/harness.ts';
import type { ServiceName } from '../e2e/service-replicas.ts';
import type { Broker } from './broker.ts';

export type Proxied = Exclude<ServiceName, 'audit-sealer'>;
export type Proxies = Record<Proxied, TcpProxy>;

/** All that a fault may touch: real processes, real servers, the wires between them, and the people of the simulator. */
export type Chaos = {
  stack: Stack;
  servers: OwnServers;
  broker: Broker;
  /** The wires of each service to Postgres and to RabbitMQ, and of all to DingTalk. */
  postgres: Proxies;
  rabbit: Proxies;
  api: TcpProxy;
  model: FakeModel;
  /** What must not, may, or must be silent: the rules of the checker that a fault adds to. */
  noEffect: Set<string>;
  contested: Set<string>;
  /** In [0, 1), from the seed of the run. */
  random: () => number;
};

/** Says what was seen that proves the fault hit; rejects when that was not seen in time. */
export type Witness = () => Promise<string>;

export type Fault = {
  number: number;
  name: string;
  /** Which outcomes may be unknown under it; none for most. */
  allows: readonly ('send' | 'tool')[];
  /** Breaks something. What mends it is handed to `onHeal` before anything else can fail. */
  inject: (chaos: Chaos, onHeal: (heal: () => Promise<void>) => void) => Promise<Witness>;
};

/** A fault whose half-done state was never seen: the run proves nothing and counts as failed. */
export const noWitness = (what: string): Error => new Error(`not injected: ${what}`);
