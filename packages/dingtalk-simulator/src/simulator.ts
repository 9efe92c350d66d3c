import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { createApiSurface } from './api-surface.ts';
import { createControl } from './control.ts';
import type { SimulatorControl } from './control.ts';
import { refuseUpgrade, useTicket } from './gateway.ts';
import { createHttpPusher } from './http-push.ts';
import { createHttpServer } from './http-server.ts';
import { allLogs, createSimulation } from './simulation.ts';
import type { SimulatorLog } from './simulation.ts';
import { createStreamConnections } from './stream-connections.ts';
import { worldSchema } from './world.ts';
import type { SimulatorWorld } from './world.ts';

export type SimulatorOptions = {
  world: SimulatorWorld;
  /** Default 127.0.0.1. */
  host?: string;
  /** Default 0: any free port. */
  port?: number;
  /** How the program under test reaches the simulator; default `http://host:port`. Session webhooks start with it. */
  publicUrl?: string;
  log?: SimulatorLog;
  /** The wall clock in milliseconds; waits always take real time. */
  now?: () => number;
  /** Calls, chat lines and pushes kept of each; default 200,000. */
  recordLimit?: number;
};

export type Simulator = { url: string; control: SimulatorControl; close(): Promise<void> };

/** A frame larger than this is not a DingTalk frame (limit of the official Java SDK). */
const MAX_FRAME_BYTES = 256 * 1024;

/** Starts a DingTalk on localhost. Rejects when the world is not consistent or the port is taken. */
export async function createSimulator(o: SimulatorOptions): Promise<Simulator> {
  const simulation = createSimulation({
    world: worldSchema.parse(o.world),
    now: o.now ?? Date.now,
    log: o.log ?? { warn: () => undefined },
    recordLimit: o.recordLimit ?? 200_000,
  });
  const stream = createStreamConnections(simulation);
  const http = createHttpPusher(simulation);
  const control = createControl({ simulation, stream, http });
  const server = createHttpServer({ simulation, control, surface: createApiSurface(simulation) });
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_FRAME_BYTES });
  server.on('upgrade', (request, socket, head) => {
    const ticket = useTicket(simulation, request);
    if ('refused' in ticket) return refuseUpgrade(socket, ticket.refused);
    sockets.handleUpgrade(request, socket, head, (accepted) => stream.accept(accepted, ticket));
  });

  const host = o.host ?? '127.0.0.1';
  server.listen(o.port ?? 0, host);
  await once(server, 'listening');
  // A server that listens on a TCP port has an AddressInfo; the other forms are for pipes and closed servers.
  const { port } = server.address() as AddressInfo;
  const url = `http://${host}:${port}`;
  simulation.publicUrl = o.publicUrl ?? url;
  return {
    url,
    control,
    close: async () => {
      simulation.timers.close();
      for (const log of allLogs(simulation)) log.close();
      http.close();
      stream.close();
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
