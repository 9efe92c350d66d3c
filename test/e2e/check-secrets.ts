import type { Simulator } from '@steward/dingtalk-simulator';
import { findLeaks, type Canary } from '@steward/testkit';
import type { StackSecrets } from './stack-config.ts';

/** There is one for each message. */
const newestSessions = 1_000;

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
  const log = o.logs.join('\n');
  if (log === '') throw new Error('no log line was captured, so nothing was checked');
  const texts = [
    { place: 'log', text: log },
    { place: 'audit', text: entries.map(({ entry }) => entry).join('\n') },
  ];
  const leaks = findLeaks(texts, secrets);
  if (leaks.length > 0) throw new Error(`secrets leaked: ${leaks.join(', ')}`);
}

/** The secrets that a run was given and lent: its files, the newest reply addresses, passwords in URLs, access tokens. */
export async function collectSecrets(o: {
  simulator: Simulator;
  secrets: StackSecrets;
  urls: readonly string[];
}): Promise<Canary[]> {
  const files = Object.entries(o.secrets).map(([kind, text]) => ({
    kind,
    text: kind === 'reply.key' ? (text.split(':')[1] ?? text) : text,
  }));
  const pushes = await o.simulator.control.sent({ kind: 'robot' });
  const sessions = pushes.slice(-newestSessions).map(({ payload }) => ({
    kind: 'session webhook',
    text: new URL(String(payload.sessionWebhook)).searchParams.get('session') ?? '',
  }));
  // As it stands in a URL: the test roles' password alone is part of the names of databases and vhosts.
  const passwords = o.urls.map((url) => ({ kind: 'server password', text: `:${new URL(url).password}@` }));
  const tokens = await Promise.all(
    o.simulator.control.world().apps.map((app) => readAccessToken(o.simulator.url, app)),
  );
  return [...files, ...sessions, ...passwords, ...tokens.map((text) => ({ kind: 'access token', text }))];
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
