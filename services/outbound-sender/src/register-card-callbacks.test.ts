import { describe, expect, it } from '@jest/globals';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { stewardConfigSchema } from '@steward/service-kit';
import type { RobotApp, SendOutcome } from '@steward/dingtalk';
import { loadCardRegistrations, registerOpen } from './register-card-callbacks.ts';
import { silentLog } from './testing.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'steward-cards-'));
writeFileSync(path.join(folder, 'card.secret'), 'card-secret-of-the-tests\n');
const robot = (name: string, over: object) => ({
  ...{ code: `ding${name}`, name, environment: 'test', corpId: 'corp-1', appKey: `key-${name}` },
  ...{ appSecretFile: 'app.secret', doors: ['http'] },
  ...over,
});
const cards = { callbackSecretFile: 'card.secret', callbackUrl: 'https://steward.example/dingtalk/cards/ops' };

describe('registering where clicks go', () => {
  it('concerns robots without a Stream door whose address and secret are configured', () => {
    const config = stewardConfigSchema.parse({
      robots: [
        robot('ops', { cards }),
        robot('stream', { cards, doors: ['http', 'stream'] }),
        robot('by-hand', { cards: { callbackSecretFile: 'card.secret' } }),
        robot('plain', {}),
      ],
    });
    expect(loadCardRegistrations(config, folder)).toEqual([
      { robotCode: 'dingops', routeKey: 'ops', url: cards.callbackUrl, apiSecret: 'card-secret-of-the-tests' },
    ]);
    const open = { robots: [robot('ops', { cards: { callbackUrl: cards.callbackUrl } })] };
    expect(stewardConfigSchema.safeParse(open).error?.issues).toMatchObject([
      { path: ['robots', 0, 'cards', 'callbackSecretFile'] },
    ]);
  });

  it('is tried again as long as the platform refuses it', async () => {
    const said: SendOutcome[] = [
      { kind: 'retryable', code: 'system.busy', text: '' },
      { kind: 'accepted', invalidStaffIds: [], flowControlledStaffIds: [] },
    ];
    const asked: object[] = [];
    const app: RobotApp = {
      robotCode: 'dingops',
      tokens: { get: () => Promise.resolve('t'), invalidate: () => undefined },
    };
    const cardCallback = { kind: 'http', routeKey: 'ops' } as const;
    const context = {
      api: {
        registerCardCallback: (o: object) => {
          asked.push(o);
          return Promise.resolve(said.shift() ?? { kind: 'unknown' as const, code: 'ASKED_TOO_OFTEN', text: '' });
        },
      },
      robots: { byCode: new Map([['dingops', { app, rule: { hosts: [], httpHosts: [] }, cardCallback }]]) },
      log: silentLog,
    };
    const registration = { robotCode: 'dingops', routeKey: 'ops', url: cards.callbackUrl, apiSecret: 's' };
    let open = await registerOpen(context, [registration]);
    expect(open).toEqual([registration]);
    open = await registerOpen(context, open);
    expect(open).toEqual([]);
    await registerOpen(context, open);
    const { robotCode: _, ...route } = registration;
    expect(asked).toEqual([
      { app, ...route },
      { app, ...route },
    ]);
  });
});
