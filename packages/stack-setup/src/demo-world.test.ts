import { describe, expect, it } from '@jest/globals';
import { loadStewardConfig } from '@steward/service-kit';
import { buildDemoCard, buildDemoWorld, toLocalUrl } from './demo-world.ts';

const config = loadStewardConfig({ path: 'deploy/demo-stack/steward.yaml' });
const find = (name: string) => `value-of-${name}`;
const callbackUrl = 'http://caddy:8080';
const urls = {
  adapterUrl: 'http://127.0.0.1:8080',
  simulatorUrl: 'http://127.0.0.1:8090',
  services: { adapter: 'http://a', agentCore: 'http://c', outboundSender: 'http://o' },
};

describe('the demo world, made of the demo configuration', () => {
  it('sends callbacks of robots with an http door through the reverse proxy, and none of the others', () => {
    const { apps } = buildDemoWorld({ config, find, callbackUrl });
    expect(apps.map(({ name, callback }) => [name, callback])).toEqual([
      ['ops', { robotUrl: 'http://caddy:8080/dingtalk/robot/ops' }],
      ['stream', {}],
    ]);
  });

  it('has every room of the configuration, with its robot and everybody in it', () => {
    const { rooms, people } = buildDemoWorld({ config, find, callbackUrl });
    expect(rooms.map((room) => room.conversationId)).toEqual(config.rooms.map((room) => room.id));
    for (const room of rooms) expect(room.members).toEqual(people.map((person) => person.staffId));
  });

  it('refuses to play DingTalk for a production robot', () => {
    const robots = config.robots.map((robot) => ({ ...robot, environment: 'production' as const }));
    expect(() => buildDemoWorld({ config: { ...config, robots }, find, callbackUrl })).toThrow(
      /not of environment test: ops, stream/,
    );
  });

  it('refuses a missing secret by name', () => {
    expect(() => buildDemoWorld({ config, find: () => null, callbackUrl })).toThrow(/demo-ops.app-secret/);
  });
});

describe('data/demo.json', () => {
  const card = buildDemoCard({ config, find, mode: 'compose', urls });

  it('has the keys that outside programs rely on', () => {
    const keys = ['mode', 'adapterUrl', 'simulatorUrl', 'services', 'robots', 'rooms', 'people', 'peopleByRole'];
    expect(Object.keys(card)).toEqual(keys);
    expect(Object.keys(card.services)).toEqual(['adapter', 'agentCore', 'outboundSender']);
    expect(Object.keys(card.robots[0] ?? {})).toEqual([
      'name',
      'code',
      'appKey',
      'appSecret',
      'environment',
      'callbackPath',
    ]);
  });

  it('agrees with the simulator on robots and their secrets', () => {
    const { apps } = buildDemoWorld({ config, find, callbackUrl });
    expect(card.robots.map(({ code, appSecret }) => [code, appSecret])).toEqual(
      apps.map((app) => [app.robotCode, app.appSecret]),
    );
  });

  it('lists people by role', () => {
    expect(card.peopleByRole['approver']).toEqual(['demo-han']);
    expect(card.peopleByRole['ops']).toEqual(['demo-li', 'demo-han']);
  });
});

it.each([
  ['8080', 'http://127.0.0.1:8080'],
  ['0.0.0.0:80', 'http://127.0.0.1:80'],
  ['[::]:80', 'http://127.0.0.1:80'],
  ['127.0.0.1:18080', 'http://127.0.0.1:18080'],
  ['10.1.2.3:8080', 'http://10.1.2.3:8080'],
])('a port published as %s is called at %s', (published, url) => {
  expect(toLocalUrl(published)).toBe(url);
});
