import { describe, expect, it } from '@jest/globals';
import { buildDirectory, judgeAccess } from './judge-access.ts';
import { buildConfig, buildReceived, type InboundOptions } from './testing.ts';

const directory = buildDirectory(buildConfig());
const judge = (o: InboundOptions) => judgeAccess(directory, buildReceived(o).body);

describe('access', () => {
  it('lets a configured person talk in a configured room, known by name', () => {
    expect(judge({})).toMatchObject({ verdict: 'allow', place: 'ops-room', person: { name: 'Li Lei' } });
  });

  it('lets anybody talk in a configured room, as nobody in particular', () => {
    expect(judge({ requester: { staffId: 'stranger' } })).toEqual({
      verdict: 'allow',
      place: 'ops-room',
      person: null,
    });
    expect(judge({ requester: { staffId: null } })).toMatchObject({ verdict: 'allow', person: null });
  });

  it('lets a configured person talk in a single chat, whatever that is called', () => {
    expect(judge({ kind: 'single', room: 'any' })).toMatchObject({ verdict: 'allow', place: 'Li Lei' });
  });

  it('takes nobody for somebody of the same number in another organisation', () => {
    const foreign = { requester: { staffId: 'staff-1', corpId: 'corp-2' } };
    expect(judge(foreign)).toMatchObject({ verdict: 'allow', person: null });
    expect(judge({ ...foreign, kind: 'single' })).toEqual({ verdict: 'deny', reason: 'unknown_person' });
  });

  it.each<[string, InboundOptions, string]>([
    ['a room that is not configured', { room: 'cid-2' }, 'unknown_room'],
    ['a stranger in a single chat', { kind: 'single', requester: { staffId: 'x' } }, 'unknown_person'],
    [
      'a person without a staff id in a single chat',
      { kind: 'single', requester: { staffId: null } },
      'unknown_person',
    ],
    [
      'a single chat that bears the id of a room',
      { kind: 'single', requester: { staffId: 'x' }, room: 'cid-1' },
      'unknown_person',
    ],
    ['a robot that is not configured', { robotCode: 'dingother' }, 'unknown_robot'],
    ['an environment that is not the robot’s', { environment: 'production' }, 'other_environment'],
  ])('denies %s', (_, o, reason) => {
    expect(judge(o)).toEqual({ verdict: 'deny', reason });
  });

  it('denies everything when nothing is configured', () => {
    const empty = { robots: new Map(), rooms: new Map(), people: new Map() };
    expect(judgeAccess(empty, buildReceived().body)).toEqual({ verdict: 'deny', reason: 'unknown_robot' });
  });

  it('does not confuse a room with the same room of another robot', () => {
    const config = buildConfig();
    const [robot] = config.robots;
    if (robot === undefined) throw new Error('no robot');
    config.robots.push({ ...robot, code: 'dingother', name: 'other' });
    const both = buildDirectory(config);
    expect(judgeAccess(both, buildReceived({ robotCode: 'dingother' }).body)).toEqual({
      verdict: 'deny',
      reason: 'unknown_room',
    });
  });
});
