import type { LogFields, Logger } from '@steward/service-kit';
import { createStreamClient } from './stream-client.ts';
import type { StreamClient, StreamClientOptions } from './stream-client.ts';
import { robotTopic } from './stream-frame.ts';
import { createFakeTimers, frameText, startGateway } from './stream-gateway.test-support.ts';
import type { FakeTimers, Gateway } from './stream-gateway.test-support.ts';

export type Running = {
  gateway: Gateway;
  client: StreamClient;
  timers: FakeTimers;
  lines: { event: string; fields: LogFields }[];
};
const cleanups: (() => Promise<void>)[] = [];

/** Closes what `start` opened: for afterEach. */
export async function stopAll(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

export const clientSecret = 'client-secret-0123456789';

/** A client on a small gateway, on fake time, with its log lines kept. */
export async function start(
  o: Partial<StreamClientOptions> & {
    gateway?: Parameters<typeof startGateway>[0];
    before?: (g: Gateway) => void;
  } = {},
): Promise<Running> {
  const { gateway: gatewayOptions, before, ...options } = o;
  const gateway = await startGateway(gatewayOptions);
  before?.(gateway);
  const timers = createFakeTimers();
  const lines: Running['lines'] = [];
  const write = (event: string, fields: LogFields = {}) => void lines.push({ event, fields });
  const log: Logger = { debug: write, info: write, warn: write, error: write, child: () => log };
  const client = createStreamClient({
    apiUrl: gateway.url,
    clientId: 'dingoabc',
    clientSecret,
    receivers: { robotMessage: () => Promise.resolve() },
    log,
    timers,
    random: () => 0,
    ...options,
  });
  cleanups.push(gateway.close, () => {
    // Fake time never ends a wait: let what is in hand at the end of a test run out.
    const closing = client.close();
    timers.advance(60_000);
    return closing;
  });
  client.start();
  return { gateway, client, timers, lines };
}

/** A promise settled from outside: a durable commit that the test holds back. */
export function deferred<T>() {
  let settle: { resolve: (value: T) => void; reject: (error: Error) => void } | undefined;
  const promise = new Promise<T>((resolve, reject) => (settle = { resolve, reject }));
  if (settle === undefined) throw new Error('unreachable');
  return { promise, ...settle };
}

export const robotFrame = (messageId: string) => frameText('CALLBACK', robotTopic, messageId, { msgId: 'm1' });
export const disconnectFrame = frameText('SYSTEM', 'disconnect', 'd1', { reason: 'connection is expired' });
export const isConnected = (client: StreamClient) => () => client.status().connected;
