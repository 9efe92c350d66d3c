import { describe, expect, it } from '@jest/globals';
import { checkRun, columns, renderCounts, type Column, type RunReport } from './check-run.ts';
import { asFacts, buildGoodFacts, governedRooms, type DoctoredFacts } from './facts.test-support.ts';
import type { RunRules } from './run-facts.ts';

const check = (doctor: (facts: DoctoredFacts) => void = () => undefined, rules: RunRules = {}): RunReport => {
  const facts = buildGoodFacts();
  doctor(facts);
  return checkRun(asFacts(facts), { governedRooms, ...rules });
};
const nonZero = ({ counts }: RunReport) =>
  Object.fromEntries(
    Object.entries(counts).filter(([name, n]) => n > 0 && name !== 'attempted' && name !== 'acknowledged'),
  );
const at = <T>(rows: T[], index: number): T => {
  const row = rows[index];
  if (row === undefined) throw new Error('no such row');
  return row;
};
const canaries = [{ kind: 'app secret', text: 'a-secret-of-the-app' }];

describe('the checker of a run', () => {
  it('finds nothing in a run in which all went well', () => {
    const report = check();
    expect(nonZero(report)).toEqual({});
    expect(report).toMatchObject({ isGood: true, findings: [], counts: { attempted: 5, acknowledged: 5 } });
    expect(
      renderCounts(report.counts)
        .split('  ')
        .map((cell) => cell.split(' ')[0]),
    ).toEqual([...columns]);
  });

  const planted: [string, Column, (facts: DoctoredFacts) => void, RunRules?][] = [
    ['an answer that never came', 'lost', (facts) => facts.simulator.lines.splice(0, 1)],
    ['a plain answer that never came', 'lost', (facts) => facts.simulator.lines.splice(1, 1)],
    [
      'an acknowledged message without a ledger row',
      'lost',
      ({ ledger, audit }) => {
        ledger.turns.splice(4, 1);
        ledger.events.splice(4, 1);
        for (const name of ['inbound.recorded event-msg6', 'turn.ended turn-event-msg6']) audit.entries.delete(name);
      },
    ],
    ['an event that nobody settled', 'lost', ({ ledger }) => (at(ledger.events, 0).isSettled = false)],
    [
      'a turn that never ended',
      'lost',
      ({ ledger, audit }) => {
        at(ledger.turns, 0).status = 'running';
        audit.entries.delete('turn.ended turn-event-msg1');
      },
    ],
    [
      'a message that never ended',
      'lost',
      ({ ledger, audit }) => {
        at(ledger.messages, 0).isEnded = false;
        audit.entries.delete('outbound.ended out1');
      },
    ],
    ['an approved change that never happened', 'lost', ({ simulator }) => simulator.effects.splice(0)],
    [
      'a change that was asked for and never heard of',
      'lost',
      ({ simulator }) => {
        simulator.lines.splice(3, 1);
        simulator.effects.splice(0);
      },
    ],
    [
      'a second answer',
      'duplicated',
      ({ simulator }) => simulator.lines.push({ ...at(simulator.lines, 0), n: 7, at: 7_000 }),
    ],
    [
      'a second plain answer',
      'duplicated',
      ({ simulator }) => simulator.lines.push({ ...at(simulator.lines, 1), n: 7, at: 7_000 }),
    ],
    [
      'a change that happened twice',
      'duplicated',
      ({ simulator }) => simulator.effects.push({ ...at(simulator.effects, 0), n: 2 }),
    ],
    [
      'a second turn of one event',
      'duplicated',
      ({ ledger, audit }) => {
        ledger.turns.push({ ...at(ledger.turns, 0), id: 'again' });
        audit.entries.set('turn.ended again', 1);
      },
    ],
    [
      'answers in the wrong order',
      'reordered',
      ({ simulator }) => {
        const [first, third] = [at(simulator.lines, 0), at(simulator.lines, 2)];
        [first.n, third.n] = [third.n, first.n];
      },
    ],
    ['a gap in the numbers of a conversation', 'reordered', ({ ledger }) => (at(ledger.events, 2).sequence = 4)],
    [
      'an answer to a question nobody asked',
      'unexpected',
      ({ simulator }) => simulator.lines.push({ ...at(simulator.lines, 0), n: 7, text: 'no command /q-zzzz' }),
    ],
    [
      'a ledger row of a message nobody sent',
      'unexpected',
      ({ ledger, audit }) => {
        ledger.events.push({ ...at(ledger.events, 4), id: 'ghost', sourceId: 'ghost', sequence: 3 });
        audit.entries.set('inbound.recorded ghost', 1);
      },
    ],
    [
      'a call that DingTalk does not have',
      'unexpected',
      ({ simulator }) => (at(simulator.calls, 0).outcome = 'unsupported'),
    ],
    ['a change that must not happen', 'unexpected', () => undefined, { noEffect: new Set(['w-000001']) }],
    ['a process that crashed', 'unexpected', ({ texts }) => (at(texts, 0).text = 'x\nuncaughtException: boom')],
    [
      'an unknown send under no fault',
      'unexpected',
      ({ ledger }) => Object.assign(at(ledger.sends, 0), { outcome: 'unknown', code: 'PROCESS_DIED' }),
    ],
    ['a change before the yes', 'unapproved', ({ simulator }) => (at(simulator.effects, 0).at = 5_500)],
    [
      'a yes of the requester',
      'unapproved',
      ({ simulator }) => (at(simulator.pushes, 4).payload['senderStaffId'] = 'li'),
    ],
    ['a change without a grant', 'unapproved', ({ ledger }) => (at(ledger.toolCalls, 0).approvers = [])],
    ['a chain that does not verify', 'audit_gaps', ({ audit }) => audit.faults.push('entry_edited: entry 1')],
    ['a state change without an entry', 'audit_gaps', ({ audit }) => audit.entries.delete('attempt.opened call')],
    ['a state change with two entries', 'audit_gaps', ({ audit }) => audit.entries.set('call.ended call', 2)],
    ['an entry of nothing', 'audit_gaps', ({ audit }) => audit.entries.set('turn.ended nobody', 1)],
    [
      'too many calls in a window',
      'over_admitted',
      () => undefined,
      {
        limits: [{ name: 'robot', windowMs: 60_000, max: 5, matches: ({ robot }) => robot === 'robot' }],
      },
    ],
    [
      'a secret in a log',
      'leaked_secrets',
      ({ texts }) => (at(texts, 0).text = 'with a-secret-of-the-app inside'),
      {
        canaries,
      },
    ],
  ];

  it.each(planted.map(([name, column, doctor, rules = {}]) => ({ name, column, doctor, rules })))(
    'counts $name as $column',
    ({ column, doctor, rules }) => {
      const report = check(doctor, rules);
      expect(report.counts[column]).toBeGreaterThan(0);
      expect(report.isGood).toBe(false);
      expect(report.findings.map((finding) => finding.column)).toContain(column);
    },
  );

  it('has a planted violation for every column that must be zero', () => {
    const free: Column[] = ['attempted', 'acknowledged', 'unknown'];
    expect(new Set(planted.map(([, column]) => column))).toEqual(
      new Set(columns.filter((name) => !free.includes(name))),
    );
  });

  it('counts each planted violation in its own column alone, where it has one cause', () => {
    for (const [name, column, doctor, rules] of planted) {
      const found = nonZero(check(doctor, rules));
      // A yes that does not count leaves its change both unapproved and unasked by the record.
      const allowed = new Set<string>([column, 'unknown']);
      expect([name, Object.keys(found).filter((one) => !allowed.has(one))]).toEqual([name, []]);
    }
  });

  it('explains an unknown outcome by its reason and a fault that was in force, and by nothing less', () => {
    const allowance = { fault: '17', kind: 'tool' as const, since: 6_000, until: 7_000 };
    const unknown = (over: object) => (facts: DoctoredFacts) => {
      Object.assign(at(facts.ledger.toolAttempts, 0), { outcome: 'unknown', code: 'PROCESS_DIED', ...over });
    };
    const under = (over: object, o: object = {}) => check(unknown(over), { allowances: [{ ...allowance, ...o }] });
    expect(under({})).toMatchObject({ isGood: true, counts: { unknown: 1, unexpected: 0 } });
    expect(under({}).explained).toEqual([expect.stringMatching(/PROCESS_DIED, under fault 17/)]);
    expect(under({ isOpen: true, code: null }, {}).explained).toEqual([expect.stringMatching(/still open/)]);
    expect(under({ code: null })).toMatchObject({ isGood: false, counts: { unknown: 1, unexpected: 1 } });
    expect(under({}, { kind: 'send' })).toMatchObject({ isGood: false });
    expect(under({}, { since: 9_000, until: 10_000 })).toMatchObject({ isGood: false });
  });

  it('lets a change that was approved and denied at once happen or not', () => {
    const without = ({ simulator }: DoctoredFacts) => simulator.effects.splice(0);
    expect(check(without, { contested: new Set(['w-000001']) }).isGood).toBe(true);
    expect(check(without).isGood).toBe(false);
  });

  it('lets a yes that was never acknowledged explain a change, and oblige to none', () => {
    const unacked = (facts: DoctoredFacts) => {
      const yes = at(facts.simulator.pushes, 4);
      yes.outcome = 'failed';
      yes.attempts = [{ at: yes.at, ms: 2_500, outcome: 'timeout' }];
      return facts;
    };
    expect(check(unacked)).toMatchObject({ isGood: true, counts: { acknowledged: 4 } });
    expect(check((facts) => unacked(facts).simulator.effects.splice(0)).isGood).toBe(true);
    expect(check((facts) => (at(unacked(facts).simulator.pushes, 4).attempts = [])).counts.unapproved).toBe(1);
  });

  it('does not count as lost what is known to be unknown', () => {
    const report = check(
      ({ simulator, ledger }) => {
        simulator.lines.splice(0, 1);
        Object.assign(at(ledger.messages, 0), { status: 'unknown', reason: 'TIMEOUT' });
        Object.assign(at(ledger.sends, 0), { outcome: 'unknown', code: 'TIMEOUT' });
      },
      { allowances: [{ fault: '21', kind: 'send', since: 0, until: 2_000 }] },
    );
    expect(nonZero(report)).toEqual({ unknown: 1 });
    expect(report.isGood).toBe(true);
  });

  it('finds 24 planted secrets in each place, also in their spelling of JSON and of a URL, and names none', () => {
    const secrets = Array.from({ length: 24 }, (_, n) => ({
      kind: `secret ${n}`,
      text: `s/${n}"${'x'.repeat(12)}${n}`,
    }));
    const spellings = [(s: string) => s, (s: string) => JSON.stringify(s), (s: string) => encodeURIComponent(s)];
    for (const place of ['log', 'audit', 'queue', 'reply', 'crash output']) {
      for (const spell of spellings) {
        const report = check(
          ({ texts }) => texts.push({ place, text: secrets.map(({ text }) => spell(text)).join(' ') }),
          {
            canaries: secrets,
          },
        );
        expect(report.counts.leaked_secrets).toBe(24);
        expect(report.findings.some(({ text }) => secrets.some((secret) => text.includes(secret.text)))).toBe(false);
      }
    }
    const lawful = secrets.map((secret) => ({ ...secret, lawfulIn: ['reply'] }));
    const said = { place: 'reply', text: at(secrets, 0).text };
    expect(check(({ texts }) => texts.push(said), { canaries: lawful }).isGood).toBe(true);
    expect(() => check(() => undefined, { canaries: [{ kind: 'short', text: 'abc' }] })).toThrow(/too short/);
  });
});
