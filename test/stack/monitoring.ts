import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { waitUntil } from '@steward/testkit';
import { gatewayOf, root } from './docker.ts';
import type { Stack } from './stack.ts';

type Alert = { labels: Record<string, string>; annotations: Record<string, string>; status: string };
type Notification = { status: string; alerts: Alert[] };

/** Prometheus' own checks of the files that ship, in the image that reads them. Rejects with what is wrong. */
export function checkShipped(stack: Stack, service: 'prometheus' | 'alertmanager', tool: string, args: string[]) {
  const mount = ['--volume', `${root}/deploy/monitoring:/shipped:ro`, '--workdir', '/shipped'];
  return stack.compose(['run', '--rm', '--no-deps', '-T', ...mount, '--entrypoint', tool, service, ...args]);
}

/** How many targets of each job are in which state: `adapter up` to 1. */
async function countTargets(stack: Stack): Promise<Record<string, number>> {
  const answer = await readJson(`${stack.prometheusUrl}/api/v1/targets?state=active`);
  const { activeTargets } = (answer as { data: { activeTargets: { labels: { job: string }; health: string }[] } }).data;
  const counts: Record<string, number> = {};
  for (const { labels, health } of activeTargets) {
    const key = `${labels.job} ${health}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

/** Waits until the targets are as expected; rejects with what they were last. */
export async function waitForTargets(stack: Stack, expected: Record<string, number>): Promise<void> {
  let last: Record<string, number> = {};
  const isThere = async () => {
    last = await countTargets(stack);
    return isDeepStrictEqual(last, expected) || null;
  };
  await waitUntil(isThere, { timeoutMs: 30_000, what: 'the targets of Prometheus' }).catch((error: unknown) => {
    throw new Error(`targets are ${JSON.stringify(last)}`, { cause: error });
  });
}

/** Somebody who is told: listens where Alertmanager's network meets this machine, and nowhere else. */
export async function createListener(stack: Stack) {
  const told: Alert[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      told.push(...(JSON.parse(Buffer.concat(parts).toString()) as Notification).alerts);
      response.end();
    });
  });
  const gateway = await gatewayOf(`${stack.project}_monitoring`);
  await new Promise<void>((resolve) => server.listen(0, gateway, resolve));
  return {
    url: `http://${gateway}:${(server.address() as AddressInfo).port}/told`,
    /** The first time that exactly this is told. */
    waitFor: (labels: Record<string, string>, status: 'firing' | 'resolved'): Promise<Alert> =>
      waitUntil(
        async () => told.find((one) => isDeepStrictEqual(one.labels, labels) && one.status === status) ?? null,
        {
          timeoutMs: 45_000,
          what: `${JSON.stringify(labels)} to be told as ${status}`,
        },
      ),
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

/** Gives alerts to Alertmanager as Prometheus does; says of each, by name, what keeps it from being told. */
export async function raise(stack: Stack, alerts: Record<string, string>[]): Promise<Record<string, string>> {
  const post = await fetch(`${stack.alertmanagerUrl}/api/v2/alerts`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(alerts.map((labels) => ({ labels: { ...labels, raised: 'by-hand' } }))),
  });
  if (!post.ok) throw new Error(await post.text());
  type Held = { labels: Record<string, string>; status: { state: string } };
  const read = async () => {
    const held = (await readJson(`${stack.alertmanagerUrl}/api/v2/alerts?filter=raised=by-hand`)) as Held[];
    const isDone = held.length === alerts.length && held.every(({ status }) => status.state !== 'unprocessed');
    return isDone ? held : null;
  };
  const held = await waitUntil(read, { timeoutMs: 20_000, what: 'Alertmanager to look at the alerts' });
  return Object.fromEntries(held.map(({ labels, status }) => [labels['alertname'] ?? '', status.state]));
}

async function readJson(url: string): Promise<unknown> {
  const answer = await fetch(url);
  return answer.json();
}
