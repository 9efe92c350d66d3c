import type { SimulatorService, SimulatorWorld } from './world.ts';

export type Service = SimulatorService & { restarts: number };
export type Systems = {
  readonly services: Map<string, Service>;
  /** What was answered under an idempotency key, with the request that it was for. */
  readonly answers: Map<string, { request: string; status: number; body: unknown }>;
};

const defaultServices: SimulatorService[] = [
  { name: 'payments', version: '2.4.1', replicas: 3, state: 'running' },
  { name: 'search', version: '1.9.0', replicas: 2, state: 'running' },
  { name: 'mailer', version: '0.7.3', replicas: 1, state: 'degraded' },
];

/** The pretend company system as the world describes it, untouched. */
export function createSystems(world: SimulatorWorld): Systems {
  const services = world.systems?.services ?? defaultServices;
  return {
    services: new Map(services.map((service) => [service.name, { ...service, restarts: 0 }])),
    answers: new Map(),
  };
}
