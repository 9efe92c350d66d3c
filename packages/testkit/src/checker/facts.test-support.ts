import type { ChatRecord, PushRecord } from '@steward/dingtalk-simulator';
import type { AuditFacts, LedgerFacts, RunFacts, SimulatorFacts } from './run-facts.ts';

/** Facts of a run whose parts a test may change. */
export type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer R)[] ? Mutable<R>[] : T[K] };
export type DoctoredFacts = {
  simulator: { [K in keyof SimulatorFacts]: Mutable<SimulatorFacts[K][number]>[] };
  ledger: { [K in keyof LedgerFacts]: Mutable<LedgerFacts[K][number]>[] };
  audit: { faults: string[]; entries: Map<string, number> };
  texts: { place: string; text: string }[];
};

const robot = 'robot';
const room = 'room';
const approvals = 'approvals';

const say = (n: number, text: string, staffId: string, conversationId: string): PushRecord => ({
  n,
  at: n * 1_000,
  kind: 'robot',
  appKey: 'app',
  robotCode: robot,
  key: `msg${n}`,
  via: 'http',
  payload: { conversationId, senderStaffId: staffId, text: { content: text } },
  attempts: [{ at: n * 1_000, ms: 5, outcome: 'acked', status: 200 }],
  outcome: 'acked',
});
const hear = (n: number, text: string, conversationId: string): ChatRecord => ({
  n,
  at: n * 1_000,
  conversationId,
  from: { kind: 'robot', id: robot },
  via: 'sessionWebhook',
  msgtype: 'text',
  text,
  content: {},
  mentions: [],
});

/**
 * A small run in which all went well: three questions in a room, a plain one among them, and a change that one person asked
 * for and another approved.
 */
export function buildGoodFacts(): DoctoredFacts {
  const pushes = [
    say(1, '/q-aaaa', 'li', room),
    say(2, '/help', 'li', room),
    say(3, '/q-bbbb', 'li', room),
    say(4, '/run change service=payments ticket=w-000001', 'li', approvals),
    say(6, '/approve 7F3K', 'han', approvals),
  ];
  const lines = [
    hear(1, 'I do not know the command /q-aaaa.', room),
    hear(2, 'I am Steward', room),
    hear(3, 'I do not know the command /q-bbbb.', room),
    hear(4, 'Approval 7F3K: change\nwith {"ticket":"w-000001"}', approvals),
    hear(5, '7F3K change: approved. It runs now.', approvals),
    hear(6, 'change: done, approved by han', approvals),
  ];
  const events = pushes.map(({ key, payload }, at) => ({
    id: `event-${key}`,
    sourceId: key,
    place: `${robot} ${String(payload['conversationId'])}`,
    sequence: at < 3 ? at + 1 : at - 2,
    isSettled: true,
  }));
  const turns = events.map(({ id }) => ({ id: `turn-${id}`, eventId: id, status: 'done' }));
  const messages = lines.map(({ n, text }) => ({
    id: `out${n}`,
    status: 'accepted',
    reason: null,
    text,
    isEnded: true,
  }));
  const attempt = { code: null, isOpen: false };
  const ledger = {
    ...{ events, turns, messages },
    sends: lines.map(({ n, at }) => ({
      ...attempt,
      id: `send${n}`,
      subjectId: `out${n}`,
      outcome: 'accepted',
      startedAt: at,
    })),
    toolCalls: [
      {
        ...{ id: 'call', tool: 'change', effect: 'write', status: 'done', arguments: '{"ticket":"w-000001"}' },
        ...{ requester: 'li', approvers: ['han'], isBreakGlass: false, isEnded: true },
      },
    ],
    toolAttempts: [
      { ...attempt, id: 'try', subjectId: 'call', outcome: 'done', startedAt: 6_100, idempotencyKey: 'key' },
    ],
  };
  return {
    simulator: {
      ...{ pushes, lines },
      calls: lines.map(({ n, at, text, conversationId }) => ({
        ...{ n, at, method: 'POST', path: '/robot/sendBySession', query: {}, body: {}, status: 200, outcome: 'ok' },
        ...{ robot, conversationId, text },
      })),
      effects: [
        { n: 1, at: 6_200, verb: 'scale', service: 'payments', idempotencyKey: 'key', body: { ticket: 'w-000001' } },
      ],
    },
    ledger,
    audit: { faults: [], entries: new Map(entriesOf(ledger).map((name) => [name, 1])) },
    texts: [{ place: 'log', text: 'service.started' }],
  };
}

const entriesOf = ({ events, turns, messages }: Pick<LedgerFacts, 'events' | 'turns' | 'messages'>): string[] => [
  ...events.map(({ id }) => `inbound.recorded ${id}`),
  ...turns.map(({ id }) => `turn.ended ${id}`),
  ...messages.flatMap(({ id }) => [`outbound.recorded ${id}`, `outbound.ended ${id}`]),
  ...['call.judged call', 'call.ended call', 'attempt.opened call', 'attempt.closed call'],
];

export const governedRooms = new Set([approvals]);
/** Checks the doctored facts as what a run left. */
export const asFacts = (facts: DoctoredFacts): RunFacts & { audit: AuditFacts } => facts;
