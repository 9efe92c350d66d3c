import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { AppError } from './errors.ts';

/** The service's own registry. Asking for a name again gives the same metric, so parts need not know of each other. */
export type Metrics = {
  registry: Registry;
  counter<L extends string>(name: string, help: string, labels?: readonly L[]): Counter<L>;
  gauge<L extends string>(name: string, help: string, labels?: readonly L[]): Gauge<L>;
  /** `buckets` in the unit of the name, which is seconds for durations (Prometheus convention). */
  histogram<L extends string>(name: string, help: string, labels?: readonly L[], buckets?: number[]): Histogram<L>;
};

/** Metrics of one service, each labelled with its name; Node's own (`process_…`, `nodejs_…`) included. */
export function createMetrics(service: string): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });

  const find = <M>(name: string, isKind: (metric: unknown) => metric is M, create: () => M): M => {
    if (!/^steward_[a-z0-9_]+$/.test(name)) throw invalidName(name, 'names start with steward_ and are lower case');
    const known: unknown = registry.getSingleMetric(name);
    if (known === undefined) return create();
    if (!isKind(known)) throw invalidName(name, 'the name is taken by a metric of another kind');
    return known;
  };

  return {
    registry,
    counter<L extends string>(name: string, help: string, labelNames: readonly L[] = []) {
      const isCounter = (metric: unknown): metric is Counter<L> => metric instanceof Counter;
      return find(name, isCounter, () => new Counter<L>({ name, help, labelNames, registers: [registry] }));
    },
    gauge<L extends string>(name: string, help: string, labelNames: readonly L[] = []) {
      const isGauge = (metric: unknown): metric is Gauge<L> => metric instanceof Gauge;
      return find(name, isGauge, () => new Gauge<L>({ name, help, labelNames, registers: [registry] }));
    },
    histogram<L extends string>(name: string, help: string, labelNames: readonly L[] = [], buckets = SECONDS) {
      const isHistogram = (metric: unknown): metric is Histogram<L> => metric instanceof Histogram;
      const create = () => new Histogram<L>({ name, help, labelNames, buckets, registers: [registry] });
      return find(name, isHistogram, create);
    },
  };
}

/** From one millisecond to the 30 s a model call may take. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

function invalidName(name: string, why: string): AppError {
  return new AppError('METRIC_INVALID', `metric ${name}: ${why}`, { retryable: false });
}
