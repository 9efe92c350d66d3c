import { WebSocketServer } from 'ws';
import type { WebSocket } from 'ws';
import { answerJson, startLocalServer, until } from './local-server.test-support.ts';
import type { LocalServer } from './local-server.test-support.ts';
import type { StreamTimers } from './stream-timers.ts';

export type GatewaySocket = { ws: WebSocket; ticket: string; received: Record<string, unknown>[]; closed: boolean };
export type Gateway = LocalServer & {
  sockets: GatewaySocket[];
  /** Set to refuse the open call, once for each entry. */
  refusals: { httpStatus: number; body: unknown }[];
  /** The n-th socket, once it is there. */
  socket: (index: number) => Promise<GatewaySocket>;
};

/** A Stream gateway as small as a test needs: tickets good for one connection, sockets to speak on. */
export async function startGateway(o: { autoPong?: boolean } = {}): Promise<Gateway> {
  const sockets: GatewaySocket[] = [];
  const refusals: Gateway['refusals'] = [];
  const tickets = new Set<string>();
  let issued = 0;
  const local = await startLocalServer((request, response) => {
    const refusal = refusals.shift();
    if (refusal) return answerJson(response, refusal.httpStatus, refusal.body);
    // A ticket with characters that must be encoded.
    const ticket = `ticket+${(issued += 1)}/&=`;
    tickets.add(ticket);
    answerJson(response, 200, { endpoint: `ws://${request.headers.host}/connect`, ticket });
  });
  const websockets = new WebSocketServer({ server: local.server, path: '/connect', autoPong: o.autoPong ?? true });
  websockets.on('connection', (ws, request) => {
    const ticket = new URL(request.url ?? '', 'ws://x').searchParams.get('ticket') ?? '';
    if (!tickets.delete(ticket)) return ws.close(4001);
    const socket: GatewaySocket = { ws, ticket, received: [], closed: false };
    ws.on('message', (raw: Buffer) => {
      const ack: unknown = JSON.parse(raw.toString('utf8'));
      socket.received.push(ack as Record<string, unknown>);
    });
    ws.on('close', () => (socket.closed = true));
    sockets.push(socket);
  });
  const socket = async (index: number) => {
    await until(() => sockets[index] !== undefined);
    const found = sockets[index];
    if (found === undefined) throw new Error('unreachable');
    return found;
  };
  const close = async () => {
    for (const client of websockets.clients) client.terminate();
    await local.close();
  };
  return { ...local, close, sockets, refusals, socket };
}

/** A frame as the server writes it. */
export function frameText(type: string, topic: string, messageId: string, payload: unknown, more = {}): string {
  const headers = { topic, messageId, connectionId: 'conn-1', contentType: 'application/json', time: '1', ...more };
  const data = typeof payload === 'string' ? payload : JSON.stringify(payload);
  return JSON.stringify({ specVersion: '1.0', type, headers, data });
}

export type FakeTimers = StreamTimers & {
  delays: number[];
  /** How many calls still wait for their time. */
  pending: () => number;
  /** Time passes; what is due runs. */
  advance: (ms: number) => void;
  /** Time passes while no timer runs, as in a sleeping machine. */
  sleep: (ms: number) => void;
};

/** Time that passes only when told to; calls after 0 ms run by themselves. */
export function createFakeTimers(): FakeTimers {
  let nowMs = 1_760_000_000_000;
  const waiting = new Set<{ atMs: number; run: () => void }>();
  const delays: number[] = [];
  const runDue = () => {
    const due = [...waiting].filter((entry) => entry.atMs <= nowMs).sort((a, b) => a.atMs - b.atMs);
    for (const entry of due) if (waiting.delete(entry)) entry.run();
  };
  return {
    delays,
    pending: () => waiting.size,
    now: () => nowMs,
    after: (delayMs, run) => {
      delays.push(delayMs);
      if (delayMs === 0) {
        const immediate = setImmediate(run);
        return () => clearImmediate(immediate);
      }
      const entry = { atMs: nowMs + delayMs, run };
      waiting.add(entry);
      return () => void waiting.delete(entry);
    },
    advance: (ms) => {
      for (let left = ms; left > 0; left -= 1_000) {
        nowMs += Math.min(1_000, left);
        runDue();
      }
    },
    sleep: (ms) => {
      nowMs += ms;
      runDue();
    },
  };
}
