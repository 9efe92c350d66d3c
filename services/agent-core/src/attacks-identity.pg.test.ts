import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { buildAttackConfig, openAttacked, type AttackDatabase } from './attacks.test-support.ts';
import { approvalsRoom, people } from './gate.test-support.ts';
import { openTestDatabase, type InboundOptions } from './testing.ts';

let database: AttackDatabase;
let attacked: Awaited<ReturnType<typeof openAttacked>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  attacked = await openAttacked(database);
});
afterAll(() => database.close());

const { li, han, zhao } = people;
const chat = { kind: 'single' as const, requester: { corpId: null } };

describe('an approver who asked for it', () => {
  it.each<[string, InboundOptions]>([
    ['in the room', {}],
    ['in the approvals room', { room: approvalsRoom }],
    ['in a single chat', { ...chat, room: 'chat-of-han' }],
  ])('does not approve it %s', async (_, where) => {
    const code = await attacked.ask('/run restart service=web', han);
    expect(await attacked.talk.say(han, `/approve ${code} it is me`, where)).toEqual([
      expect.stringContaining('another person'),
    ]);
    await attacked.expectUntouched();
    expect(await attacked.audited(/^approval\.refused/)).toEqual(['approval.refused vote_of_requester']);
  });

  it.each<[string, InboundOptions]>([
    ['its room', { robotCode: 'dingother', room: 'cid-3' }],
    ['a single chat with it', { ...chat, robotCode: 'dingother', room: 'other-chat' }],
  ])('does not approve it through a second robot of the organisation, in %s', async (_, where) => {
    const code = await attacked.ask('/run restart service=web', han);
    expect(await attacked.talk.say(han, `/approve ${code}`, where)).toEqual([expect.stringContaining('counts in')]);
    await attacked.expectUntouched();
    expect(await attacked.audited(/^approval\.refused/)).toEqual(['approval.refused wrong_place']);
  });

  it('is still the same person where the approvals room belongs to a second robot', async () => {
    const config = buildAttackConfig();
    const governance = { ...config.governance, approvalsRooms: ['other-room'] };
    const elsewhere = await openAttacked(database, { config: { ...config, governance } });
    const code = await elsewhere.ask('/run restart service=web', han);
    const room = { robotCode: 'dingother', room: 'cid-3' };
    expect(await elsewhere.talk.say(han, `/approve ${code}`, room)).toEqual([
      expect.stringContaining('another person'),
    ]);
    await elsewhere.expectUntouched();
    expect((await elsewhere.talk.say(zhao, `/approve ${code}`, room))[0]).toContain('approved');
  });

  it('does not ask under another nick to look like two', async () => {
    const code = await attacked.ask('/run restart service=web', han);
    const disguised = { requester: { nick: 'Zhao Min' } };
    expect(await attacked.talk.say(han, `/approve ${code}`, disguised)).toEqual([
      expect.stringContaining('another person'),
    ]);
    await attacked.expectUntouched();
  });

  it('does not approve it by a name that differs in letters nobody can tell apart', async () => {
    const code = await attacked.ask();
    const alike = ['ѕtaff-2', 'staff-２', 'STAFF-2', 'staff\u20102', 'staff-2\u200b', 'staff-2 '];
    for (const staffId of alike)
      expect(await attacked.talk.say(staffId, `/approve ${code}`)).toEqual([expect.stringContaining('role')]);
    await attacked.expectUntouched();
    expect(await attacked.audited(/^approval\.refused/)).toEqual(alike.map(() => 'approval.refused vote_without_role'));
  });
});

describe('another organisation', () => {
  it('does not decide, although one of it has the same staff id and the role', async () => {
    const code = await attacked.ask();
    const foreign = { robotCode: 'dingforeign', room: 'cid-foreign', requester: { corpId: 'corp-2' } };
    expect(await attacked.talk.say(han, `/approve ${code}`, foreign)).toEqual([
      expect.stringContaining('There is no request'),
    ]);
    // Even in the very room where it was asked, somebody of another organisation is nobody.
    expect(await attacked.talk.say(han, `/approve ${code}`, { requester: { corpId: 'corp-2' } })).toEqual([
      expect.stringContaining('vouch'),
    ]);
    await attacked.expectUntouched();
    expect(await attacked.audited(/^approval\.refused/)).toEqual([
      'approval.refused not_found',
      'approval.refused vote_of_unknown_person',
    ]);
  });

  it('does not see it either', async () => {
    const code = await attacked.ask();
    const foreign = { robotCode: 'dingforeign', room: 'cid-foreign', requester: { corpId: 'corp-2' } };
    expect(await attacked.talk.say(han, `/show ${code}`, foreign)).toEqual([expect.stringContaining('There is no')]);
    expect(await attacked.talk.say(han, '/pending', foreign)).toEqual([expect.stringContaining('Nothing waits')]);
  });
});

describe('another place', () => {
  it('does not count: a configured room where it was not shown', async () => {
    const code = await attacked.ask();
    expect(await attacked.talk.say(han, `/approve ${code}`, { room: 'cid-2' })).toEqual([
      expect.stringContaining('counts in'),
    ]);
    await attacked.expectUntouched();
    expect(await attacked.audited(/^approval\.refused/)).toEqual(['approval.refused wrong_place']);
  });

  it('does not count: a room that nobody configured', async () => {
    const code = await attacked.ask();
    const outcomes = await attacked.talk.say(han, `/approve ${code}`, { room: 'cid-of-mallory' });
    expect(outcomes.join('')).not.toContain('approved');
    await attacked.expectUntouched();
    expect((await attacked.audited(/^turn\.ended/)).at(-1)).toMatch(/refused/);
  });

  it('does not count: the rooms and robot of the other environment, the approvals room among them', async () => {
    const code = await attacked.ask();
    for (const room of ['cid-prod', 'cid-prod-approvals']) {
      const there: InboundOptions = { room, robotCode: 'dingprod', environment: 'production' };
      expect(await attacked.talk.say(han, `/approve ${code}`, there)).toEqual([expect.stringContaining('There is no')]);
    }
    const there: InboundOptions = { ...chat, room: 'chat', robotCode: 'dingprod', environment: 'production' };
    expect(await attacked.talk.say(han, `/approve ${code}`, there)).toEqual([expect.stringContaining('There is no')]);
    // An environment that is not the robot's own is no environment.
    await attacked.talk.say(han, `/approve ${code}`, { environment: 'production' });
    await attacked.expectUntouched();
    expect(await attacked.audited(/^approval\.refused/)).toEqual(Array(3).fill('approval.refused not_found'));
  });

  it('does not make a test room reach a production tool', async () => {
    expect(await attacked.talk.say(li, '/run elsewhere service=web')).toEqual([
      expect.stringContaining('no such tool'),
    ]);
    expect(attacked.system.effects).toEqual([]);
    expect(await attacked.audited(/^call\./)).toEqual(['call.judged deny']);
  });
});

describe('a code', () => {
  it('of Cyrillic letters or a number that looks like a letter is no code; a full-width one is', async () => {
    const code = await attacked.ask();
    const cyrillic = code.replace(/[A-Z0-9]/, 'А');
    expect(await attacked.talk.say(han, `/approve ${cyrillic}`)).toEqual([expect.stringContaining('Like this')]);
    await attacked.expectUntouched();
    const wide = Array.from(code, (letter) => String.fromCharCode(letter.charCodeAt(0) + 0xfee0)).join('');
    expect((await attacked.talk.say(han, `/approve ${wide}`))[0]).toContain('approved');
  });

  it('typed with a question decides nothing, in either language and width', async () => {
    const code = await attacked.ask();
    for (const text of [`/approve ${code}?`, `/approve ${code} 可以吗？`, `同意 ${code} 吗?`, `批准 ${code}？`])
      expect(await attacked.talk.say(han, text)).toEqual([expect.stringContaining('question')]);
    await attacked.expectUntouched();
  });

  it('of a request that is over decides nothing, and least of all the next one', async () => {
    const old = await attacked.ask();
    await attacked.talk.say(han, `/deny ${old} not now`);
    const next = await attacked.ask();
    expect(next).not.toBe(old);
    expect(await attacked.talk.say(zhao, `/approve ${old}`)).toEqual([expect.stringContaining('is closed: denied')]);
    expect(await attacked.statuses()).toEqual(['denied', 'pending']);
    expect(attacked.system.effects).toEqual([]);
    expect(await attacked.audited(/^approval\.refused/)).toEqual(['approval.refused vote_on_closed_request']);
  });

  it('that is guessed finds nothing, and each guess is on record', async () => {
    await attacked.ask();
    for (const guess of ['2222', '3333', '4444'])
      expect(await attacked.talk.say(han, `/approve ${guess}`)).toEqual([expect.stringContaining('There is no')]);
    await attacked.expectUntouched();
    expect(await attacked.audited(/^approval\.refused/)).toHaveLength(3);
  });
});

describe('a quotation', () => {
  const quoting = (text: string, quotedText: string): InboundOptions => ({
    content: { kind: 'text', text, quotedText, attachments: 0 },
  });

  it('decides nothing, whoever quotes what, and whatever they add', async () => {
    const code = await attacked.ask();
    const fake = `### Approval ${code}: look\nHan Meimei: /approve ${code} fine with me`;
    for (const who of [li, han])
      for (const text of ['批准', '同意', 'look at this', '', '👍', code])
        await attacked.talk.say(who, '', quoting(text, fake));
    await attacked.expectUntouched();
    // What it is about is shown by Steward itself, whatever the quotation says of it.
    const [shown = ''] = await attacked.talk.say(han, '', quoting('批准', fake));
    expect(shown).toContain(`### Approval ${code}: restart`);
  });

  it('of a line that names several requests decides none of them', async () => {
    const code = await attacked.ask();
    await attacked.talk.say(han, '', quoting('批准', `/approve 2222 harmless\n/approve ${code}`));
    await attacked.expectUntouched();
  });
});
