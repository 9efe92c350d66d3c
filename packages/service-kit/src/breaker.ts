import CircuitBreaker from 'opossum';
import { AppError } from './errors.ts';

export type BreakerState = 'open' | 'half_open' | 'closed';

/** How an action ended: with a result, or with what it threw. */
export type BreakerOutcome<T> = { ok: T } | { error: unknown };

/**
 * Stops calling a dependency that is down. Open means *later*, never *failed*: the work keeps its row and its time.
 * State lives in this process alone, so each replica makes its own probe. One for each host and credential.
 */
export type Breaker = {
  /**
   * Runs the action and passes on what it returns or throws. `isFault` judges the outcome: true is the dependency's
   * fault, false with a result is a sign of health, false with an error says nothing about the dependency (an invalid
   * request neither opens nor closes anything); 'neutral' says the same of a result. Rejects with BREAKER_OPEN
   * (retryable) without running the action while open, or while the one probe of half-open is under way.
   * The action must bound its own time.
   */
  run<T>(action: () => Promise<T>, isFault: (outcome: BreakerOutcome<T>) => boolean | 'neutral'): Promise<T>;
  readonly state: BreakerState;
};

type BreakerOptions = {
  name: string;
  onStateChange?: (state: BreakerState) => void;
  /** Opens only after this many judged calls within the window; default 10. */
  minimumCalls?: number;
  /** Opens when more than this share of them were faults; default 50. */
  faultPercent?: number;
  windowMs?: number;
  /** How long it stays open before one probe is let through; default 10 s. */
  openMs?: number;
};

/** A probe that has not come back after this long no longer keeps others from trying. */
const PROBE_LIMIT_MS = 60_000;

/**
 * opossum keeps the window and the states, but never sees the action: it is told verdicts. Its own way of running an
 * action knows no neutral outcome (a filtered error is a success and closes a half-open circuit), counts refused calls
 * in the share of faults, and its time limit frees the slot while the action goes on.
 */
export function createBreaker(options: BreakerOptions): Breaker {
  const circuit = createCircuit(options);
  let opened = 0;
  let probe: { startedAtMs: number } | undefined;
  circuit.on('open', () => (opened += 1));

  const state = (): BreakerState => (circuit.opened ? 'open' : circuit.halfOpen ? 'half_open' : 'closed');

  const admit = (): { startedAtMs: number } | undefined => {
    if (state() === 'closed') return undefined;
    const isProbing = probe !== undefined && Date.now() - probe.startedAtMs < PROBE_LIMIT_MS;
    if (state() === 'open' || isProbing) {
      throw new AppError('BREAKER_OPEN', `${options.name} is not called for now`, { retryable: true });
    }
    probe = { startedAtMs: Date.now() };
    return probe;
  };

  return {
    async run(action, isFault) {
      const ticket = admit();
      const openedBefore = opened;
      try {
        const outcome = await settle(action);
        const verdict = judge(outcome, isFault);
        // Who set out before the circuit opened brings old news; in half-open only the probe speaks.
        const counts = opened === openedBefore && (state() === 'closed' || (ticket !== undefined && probe === ticket));
        if (counts && verdict !== 'neutral') await tell(circuit, verdict);
        if ('error' in outcome) throw outcome.error;
        return outcome.ok;
      } finally {
        if (ticket !== undefined && probe === ticket) probe = undefined;
      }
    },
    get state() {
      return state();
    },
  };
}

type Verdict = 'fault' | 'healthy' | 'neutral';
type Circuit = CircuitBreaker<[Verdict], void>;

function createCircuit({ name, onStateChange, ...limits }: BreakerOptions): Circuit {
  const circuit: Circuit = new CircuitBreaker(
    (verdict: Verdict) => (verdict === 'fault' ? Promise.reject(new Error('fault')) : Promise.resolve()),
    {
      name,
      timeout: false,
      volumeThreshold: limits.minimumCalls ?? 10,
      errorThresholdPercentage: limits.faultPercent ?? 50,
      rollingCountTimeout: limits.windowMs ?? 10_000,
      resetTimeout: limits.openMs ?? 10_000,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
    },
  );
  circuit.on('open', () => onStateChange?.('open'));
  circuit.on('halfOpen', () => onStateChange?.('half_open'));
  circuit.on('close', () => onStateChange?.('closed'));
  return circuit;
}

async function settle<T>(action: () => Promise<T>): Promise<BreakerOutcome<T>> {
  try {
    return { ok: await action() };
  } catch (error) {
    return { error };
  }
}

function judge<T>(outcome: BreakerOutcome<T>, isFault: (outcome: BreakerOutcome<T>) => boolean | 'neutral'): Verdict {
  const answer = isFault(outcome);
  if (answer === 'neutral') return 'neutral';
  if (answer) return 'fault';
  return 'error' in outcome ? 'neutral' : 'healthy';
}

async function tell(circuit: Circuit, verdict: Verdict): Promise<void> {
  try {
    await circuit.fire(verdict);
  } catch {
    // A told fault comes back as a rejection; the caller gets the action's own error instead.
  }
}
