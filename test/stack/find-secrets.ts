import { expect } from '@jest/globals';
import { run } from './docker.ts';
import type { DemoCard, Stack } from './stack.ts';

type Call = { query: Record<string, string>; body: unknown };

/**
 * Looks for every secret of the stack, verbatim, in everything an outsider of the containers can read: logs,
 * inspections, image histories, and the audit log. Secrets are the files of the secrets folder and the credentials that
 * the simulated DingTalk has handed out or seen (reply addresses, access tokens, tickets).
 */
export async function expectNoSecrets(stack: Stack, card: DemoCard): Promise<void> {
  const secrets = { ...stack.readSecrets(), ...(await readPlatformSecrets(card)) };
  const places = await readPlaces(stack);
  expect(Object.keys(places).length).toBeGreaterThan(20);
  for (const text of Object.values(places)) expect(text).not.toBe('');
  const found = Object.entries(places).flatMap(([place, text]) =>
    Object.entries(secrets)
      .flatMap(([name, value]) => partsOf(value).map((part) => ({ name, part })))
      .filter(({ part }) => text.includes(part))
      .map(({ name }) => `${name} in ${place}`),
  );
  expect(found).toEqual([]);
}

/** A key file may hold `<id>:<key>` lines: the key alone would already be a leak. */
function partsOf(value: string): string[] {
  return value.split(/[\n:]/).filter((part) => part.length >= 16);
}

async function readPlatformSecrets({ simulatorUrl }: DemoCard): Promise<Record<string, string>> {
  const answer = await fetch(`${simulatorUrl}/control/calls`);
  const { calls } = (await answer.json()) as { calls: Call[] };
  const names = ['session', 'access_token', 'ticket'];
  const secrets = calls.flatMap(({ query }) =>
    names.flatMap((name) => (query[name] === undefined ? [] : [[`${name} ${query[name].slice(0, 4)}…`, query[name]]])),
  );
  expect(secrets).not.toEqual([]);
  return Object.fromEntries(secrets) as Record<string, string>;
}

async function readPlaces(stack: Stack): Promise<Record<string, string>> {
  const containers = await stack.containers();
  const places: Record<string, string> = {};
  for (const { Id, Name } of containers) {
    // Both streams: programs complain on the second one.
    places[`log of ${Name}`] = `${Name} ${await run('sh', ['-c', 'docker logs "$1" 2>&1', 'sh', Id])}`;
    places[`inspection of ${Name}`] = await run('docker', ['inspect', Id]);
  }
  for (const image of ['steward:stack-test', 'steward-simulator:stack-test']) {
    places[`history of ${image}`] = await run('docker', ['history', '--no-trunc', image]);
    places[`inspection of ${image}`] = await run('docker', ['image', 'inspect', image]);
  }
  places['audit log'] = await stack.sql('select * from audit.entry');
  places['personal text of the audit log'] = `detail ${await stack.sql('select body from audit.detail')}`;
  return places;
}
