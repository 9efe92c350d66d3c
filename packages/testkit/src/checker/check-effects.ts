import type { EffectRecord, PushRecord } from '@steward/dingtalk-simulator';
import type { LedgerFacts, LedgerToolCall, SimulatorFacts } from './run-facts.ts';

/** A change by its mark: an argument of the call that its HTTP request carries, so that the effect says what asked for it. */
const ticketPattern = /\bw-[a-z0-9]{6,}\b/;
const codePattern = /\bApproval ([0-9A-Z]{4}):|审批 ([0-9A-Z]{4})：/;
const approvePattern = /^\s*\/approve\s+([0-9A-Z]{4})\b/i;

export const ticketOf = (text: string): string | null => ticketPattern.exec(text)?.[0] ?? null;
/** The code of the request that a line of a robot shows. */
export const codeOf = (text: string): string | null => {
  const match = codePattern.exec(text);
  return match?.[1] ?? match?.[2] ?? null;
};

type Found = { lost: string[]; duplicated: string[]; unexpected: string[]; unapproved: string[] };

/**
 * Holds every change of the company system against who asked for it and who said yes, by what the simulator pushed:
 * `/run … <ticket>` by one person, a line that shows the ticket with a code, `/approve <code>` by another person before the
 * change. The ledger has to agree that there was an approval.
 */
export function checkEffects(
  simulator: SimulatorFacts,
  ledger: LedgerFacts,
  o: { noEffect: ReadonlySet<string>; contested: ReadonlySet<string> },
): Found {
  const { noEffect, contested } = o;
  const asked = findAsked(simulator.pushes);
  const yes = findApprovals(simulator, asked);
  const made = Map.groupBy(simulator.effects, (effect) => ticketOf(JSON.stringify(effect.body)) ?? '');
  const calls = new Map(ledger.toolCalls.map((call) => [ticketOf(call.arguments) ?? '', call]));
  const found: Found = { lost: [], duplicated: [], unexpected: [], unapproved: [] };
  for (const [ticket, effects] of made) {
    const request = asked.get(ticket);
    if (request === undefined || noEffect.has(ticket)) {
      found.unexpected.push(...effects.map((effect) => `${describe(effect)} (${ticket}) should not have happened`));
    }
    found.duplicated.push(...effects.slice(1).map((effect) => `${describe(effect)} (${ticket}) happened again`));
    const isApproved = (effect: EffectRecord) => (yes.get(ticket)?.at ?? Infinity) <= effect.at;
    const isKnown = hasApproval(calls.get(ticket));
    found.unapproved.push(
      ...effects
        .filter((effect) => !isApproved(effect) || !isKnown)
        .map(
          (effect) =>
            `${describe(effect)} (${ticket}) happened without ${isKnown ? 'a yes of another person' : 'a grant'}`,
        ),
    );
  }
  for (const [ticket, { wasAcked }] of yes) {
    if (!wasAcked) continue;
    const call = calls.get(ticket);
    if (made.has(ticket) || noEffect.has(ticket) || contested.has(ticket) || call?.status === 'unknown') continue;
    found.lost.push(`${ticket} was approved and never happened (${call?.status ?? 'no call'})`);
  }
  found.lost.push(...findUnheard(simulator, asked));
  return found;
}

/** Requests that were acknowledged and of which no robot ever said a word. */
function findUnheard({ pushes, lines }: SimulatorFacts, asked: ReadonlyMap<string, string>): string[] {
  const heard = new Set(lines.filter(({ from }) => from.kind === 'robot').map(({ text }) => ticketOf(text)));
  const acked = new Set(
    pushes
      .filter(({ attempts }) => attempts.some(({ outcome }) => outcome === 'acked'))
      .map((push) => ticketOf(textOf(push))),
  );
  return [...asked.keys()]
    .filter((ticket) => acked.has(ticket) && !heard.has(ticket))
    .map((ticket) => `${ticket} was asked for and never heard of`);
}

const describe = ({ verb, service }: EffectRecord) => `${verb} of ${service}`;

/** Who asked for each ticket. */
function findAsked(pushes: readonly PushRecord[]): Map<string, string> {
  const asked = new Map<string, string>();
  for (const push of pushes) {
    const text = textOf(push);
    const ticket = ticketOf(text);
    if (ticket !== null && text.includes('/run') && !asked.has(ticket)) asked.set(ticket, personOf(push));
  }
  return asked;
}

/**
 * When another person first said yes to each ticket. One whose delivery was never acknowledged may have been recorded all the
 * same: it can explain a change, and obliges to none.
 */
function findApprovals(
  { pushes, lines }: SimulatorFacts,
  asked: ReadonlyMap<string, string>,
): Map<string, { at: number; wasAcked: boolean }> {
  const tickets = new Map<string, string>();
  for (const { from, text } of lines) {
    const [code, ticket] = [codeOf(text), ticketOf(text)];
    if (from.kind === 'robot' && code !== null && ticket !== null) tickets.set(code, ticket);
  }
  const yes = new Map<string, { at: number; wasAcked: boolean }>();
  for (const push of pushes) {
    const code = approvePattern.exec(textOf(push))?.[1]?.toUpperCase();
    const ticket = code === undefined ? undefined : tickets.get(code);
    if (ticket === undefined || push.attempts.length === 0 || asked.get(ticket) === personOf(push)) continue;
    const before = yes.get(ticket);
    const wasAcked = push.attempts.some(({ outcome }) => outcome === 'acked');
    yes.set(ticket, {
      at: Math.min(push.at, before?.at ?? Infinity),
      wasAcked: wasAcked || before?.wasAcked === true,
    });
  }
  return yes;
}

const hasApproval = (call: LedgerToolCall | undefined): boolean =>
  call !== undefined && (call.isBreakGlass || call.approvers.some((approver) => approver !== call.requester));

function textOf({ payload }: PushRecord): string {
  const text = payload['text'];
  return typeof text === 'object' && text !== null && 'content' in text ? String(text.content) : '';
}

function personOf({ payload }: PushRecord): string {
  const staffId = payload['senderStaffId'];
  return typeof staffId === 'string' ? staffId : '';
}
