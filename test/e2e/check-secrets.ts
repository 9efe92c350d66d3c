import type { Simulator } from '@steward/dingtalk-simulator';
import type { StackSecrets } from './stack-config.ts';

type Sql = <T>(text: string) => Promise<T[]>;

/**
 * Looks for every secret of this run in every line that a service wrote and in every audit entry; rejects, naming the
 * kind of secret and never the secret. The list comes from the run itself, not from a pattern.
 */
export async function checkSecrets(o: {
  simulator: Simulator;
  secrets: StackSecrets;
  sql: Sql;
  urls: readonly string[];
  logs: readonly string[];
}): Promise<void> {
  const secrets = await collectSecrets(o);
  const entries = await o.sql<{ entry: string }>(
    'select e::text as entry from audit.entry e union all select d.body::text from audit.detail d where d.body is not null',
  );
  const places = { log: o.logs.join('\n'), audit: entries.map(({ entry }) => entry).join('\n') };
  if (places.log === '') throw new Error('no log line was captured, so nothing was checked');
  const leaks = Object.entries(places).flatMap(([place, text]) =>
    findLeaks(text, secrets).map((kind) => `${kind} in ${place}`),
  );
  if (leaks.length > 0) throw new Error(`secrets leaked: ${[...new Set(leaks)].join(', ')}`);
}

type Secret = { kind: string; text: string };

/** The kinds of secret that a text contains. */
export function findLeaks(text: string, secrets: readonly Secret[]): string[] {
  return secrets.filter((secret) => text.includes(secret.text)).map(({ kind }) => kind);
}

async function collectSecrets(o: {
  simulator: Simulator;
  secrets: StackSecrets;
  urls: readonly string[];
}): Promise<Secret[]> {
  const files = Object.entries(o.secrets).map(([kind, text]) => ({
    kind,
    text: kind === 'reply.key' ? (text.split(':')[1] ?? text) : text,
  }));
  const sessions = (await o.simulator.control.sent({ kind: 'robot' })).map(({ payload }) => ({
    kind: 'session webhook',
    text: new URL(String(payload.sessionWebhook)).searchParams.get('session') ?? '',
  }));
  // As it stands in a URL: the test roles' password alone is part of the names of databases and vhosts.
  const passwords = o.urls.map((url) => ({ kind: 'server password', text: `:${new URL(url).password}@` }));
  const tokens = await Promise.all(
    o.simulator.control.world().apps.map((app) => readAccessToken(o.simulator.url, app)),
  );
  const all = [...files, ...sessions, ...passwords, ...tokens.map((text) => ({ kind: 'access token', text }))];
  const short = all.find(({ text }) => text.length < 10);
  if (short !== undefined) throw new Error(`a ${short.kind} is missing or too short to look for`);
  return all;
}

/** The platform gives the same token again while it is valid: this is the one that the services use. */
async function readAccessToken(simulatorUrl: string, app: { appKey: string; appSecret: string }): Promise<string> {
  const response = await fetch(`${simulatorUrl}/v1.0/oauth2/accessToken`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ appKey: app.appKey, appSecret: app.appSecret }),
  });
  return String(((await response.json()) as { accessToken: unknown }).accessToken);
}
