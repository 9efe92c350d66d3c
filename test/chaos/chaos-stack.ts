import { createTcpProxy, provisionOwnServers, type OwnServers } from '@steward/testkit';
import { createFakeModel } from '../e2e/fake-model.ts';
import { startStack } from '../e2e/harness.ts';
import { createBroker } from './broker.ts';
import { plantedEnvironment } from './canaries.ts';
import type { Chaos, Proxied, Proxies } from './fault.ts';
import { changeTool } from './load.ts';
import { createRandom } from '../random.ts';

/** Faults have rooms of their own choosing: so many there are, however few talk. */
const fewestRooms = 100;
export const roomsFor = (conversations: number): number => Math.max(conversations, fewestRooms);

const services: readonly Proxied[] = ['adapter', 'agent-core', 'outbound-sender'];

/**
 * Two processes of each service, a sealer, own durable servers, and a proxy on every wire. `stop` ends all of it. Servers that
 * are given in the environment are not used: these will be killed.
 */
export async function startChaos(o: {
  conversations: number;
  say: (line: string) => void;
}): Promise<{ chaos: Chaos; stop: () => Promise<void> }> {
  const servers = await provisionOwnServers({ say: o.say });
  Object.assign(process.env, servers.env);
  try {
    return await startOn(servers, o.conversations);
  } catch (error) {
    await servers.stop();
    throw error;
  }
}

async function startOn(servers: OwnServers, conversations: number) {
  const { DATABASE_URL = '', AMQP_URL = '', RABBITMQ_MANAGEMENT_URL = '' } = servers.env;
  const proxiesTo = async (url: string): Promise<Proxies> => {
    const [adapter, agentCore, outboundSender] = await Promise.all([
      createTcpProxy(url),
      createTcpProxy(url),
      createTcpProxy(url),
    ]);
    return { adapter, 'agent-core': agentCore, 'outbound-sender': outboundSender };
  };
  const [postgres, rabbit, model] = await Promise.all([
    proxiesTo(DATABASE_URL),
    proxiesTo(AMQP_URL),
    createFakeModel(),
  ]);
  // The simulator listens where its proxy leads to; services know the proxy alone.
  const probe = await createTcpProxy('http://127.0.0.1:9');
  const port = probe.port;
  await probe.close();
  const api = await createTcpProxy(`http://127.0.0.1:${port}`);
  const isProxied = (service: string): service is Proxied => services.some((name) => name === service);
  const stack = await startStack({
    adapters: 2,
    agentCores: 2,
    outboundSenders: 2,
    extraRooms: roomsFor(conversations),
    model: { baseUrl: model.baseUrl, timeoutMs: 20_000 },
    governed: { tools: { 'change.yaml': changeTool } },
    route: (service, server, url) =>
      isProxied(service) ? (server === 'postgres' ? postgres : rabbit)[service].url(url) : url,
    simulator: { port, publicUrl: api.url(`http://127.0.0.1:${port}`).replace(/\/$/, '') },
    env: plantedEnvironment,
  });
  // As long as an outage of a run may take: who was not answered 200 delivers again.
  stack.simulator.control.setFaults({ robotRetryMs: Array.from({ length: 10 }, () => 2_000) });
  const broker = createBroker(RABBITMQ_MANAGEMENT_URL, stack.vhost.name);
  await broker.tap();
  const sets = { noEffect: new Set<string>(), contested: new Set<string>() };
  const chaos: Chaos = { stack, servers, broker, postgres, rabbit, api, model, ...sets, random: createRandom(1) };
  const stop = async () => {
    await stack.stop();
    await Promise.all(
      [...services.flatMap((name) => [postgres[name], rabbit[name]]), api].map((proxy) => proxy.close()),
    );
    await model.close();
    await servers.stop();
  };
  return { chaos, stop };
}
