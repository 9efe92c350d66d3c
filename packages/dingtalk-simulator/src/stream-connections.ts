import type { WebSocket } from 'ws';
import { freshId } from './random.ts';
import type { Attempt } from './records.ts';
import { isObject, objectOf, parseObject } from './reply.ts';
import type { Simulation, Ticket } from './simulation.ts';

type Ack = { code: unknown; answer: unknown };
type Connection = {
  id: string;
  appKey: string;
  topics: string[];
  socket: WebSocket;
  /** `leaving` after a planned disconnect frame; `zombie` answers pings and does nothing else. */
  state: 'open' | 'leaving' | 'zombie';
  waiting: Map<string, (ack: Ack | 'broken') => void>;
  stopTimers: (() => void)[];
};

export type Frame = { type: 'EVENT' | 'CALLBACK'; topic: string; headers?: Record<string, string>; data: string };
export type DisconnectMode = Simulation['faults']['disconnectMode'];
export type ConnectionRow = { connectionId: string; appKey: string; topics: string[]; state: Connection['state'] };

export type StreamConnections = {
  accept(socket: WebSocket, ticket: Ticket): void;
  hasSubscriber(appKey: string, frame: Pick<Frame, 'type' | 'topic'>): boolean;
  /** Writes the frame to one connection and waits for its ack, at most `ackTimeoutMs`. */
  push(appKey: string, frame: Frame, ackTimeoutMs: number): Promise<Attempt>;
  /** Ends connections of an app (or all) in the given way; says how many. */
  disconnect(o: { appKey?: string; connectionId?: string; mode: DisconnectMode }): number;
  list(): ConnectionRow[];
  /** Starts ping and random-disconnect clocks again, after the switches changed. */
  restartClocks(): void;
  close(): void;
};

/** The living Stream connections and everything that goes over them (reference sections 2.2 to 2.6). */
export function createStreamConnections(simulation: Simulation): StreamConnections {
  const connections = new Set<Connection>();
  const candidates = (appKey: string, frame: Pick<Frame, 'type' | 'topic'>): Connection[] =>
    [...connections].filter((c) => c.appKey === appKey && c.state !== 'leaving' && isSubscribed(c.topics, frame));
  return {
    accept: (socket, ticket) => {
      const connection: Connection = {
        ...{ id: freshId(), appKey: ticket.appKey, topics: ticket.topics, socket, state: 'open' as const },
        ...{ waiting: new Map<string, (ack: Ack | 'broken') => void>(), stopTimers: [] },
      };
      connections.add(connection);
      // ws hands text frames over as one Buffer unless told otherwise.
      socket.on('message', (raw) => receiveAck(connection, Buffer.isBuffer(raw) ? raw.toString() : ''));
      // A broken socket also closes; without a listener the error would end the program.
      socket.on('error', () => socket.terminate());
      socket.on('close', () => {
        connections.delete(connection);
        for (const stop of connection.stopTimers) stop();
        for (const settle of [...connection.waiting.values()]) settle('broken');
      });
      startClocks(simulation, connection);
    },
    hasSubscriber: (appKey, frame) => candidates(appKey, frame).length > 0,
    push: (appKey, frame, ackTimeoutMs) => pushFrame(simulation, candidates(appKey, frame), frame, ackTimeoutMs),
    disconnect: ({ appKey, connectionId, mode }) => {
      const chosen = [...connections].filter(
        (c) => (appKey ?? c.appKey) === c.appKey && (connectionId ?? c.id) === c.id && c.state === 'open',
      );
      for (const connection of chosen) endConnection(simulation, connection, mode);
      return chosen.length;
    },
    list: () => [...connections].map(({ id, appKey, topics, state }) => ({ connectionId: id, appKey, topics, state })),
    restartClocks: () => {
      for (const connection of connections) startClocks(simulation, connection);
    },
    close: () => {
      for (const connection of connections) connection.socket.terminate();
    },
  };
}

/** EVENT knows only the topic `*`; what was not subscribed is not pushed. */
function isSubscribed(topics: readonly string[], frame: Pick<Frame, 'type' | 'topic'>): boolean {
  return topics.includes(frame.type === 'EVENT' ? 'EVENT *' : `${frame.type} ${frame.topic}`);
}

async function pushFrame(
  s: Simulation,
  candidates: Connection[],
  frame: Frame,
  ackTimeoutMs: number,
): Promise<Attempt> {
  const startedAt = s.now();
  // Random: each push goes to one connection. Oldest: the platform keeps routing to a socket that may be dead.
  const chosen = candidates[s.faults.streamRouting === 'oldest' ? 0 : Math.floor(s.random() * candidates.length)];
  if (chosen === undefined) return { at: startedAt, ms: 0, outcome: 'no-door' };
  const messageId = freshId();
  const attempt = { at: startedAt, connectionId: chosen.id, messageId };
  const acked = waitForAck(chosen, messageId, ackTimeoutMs);
  if (chosen.state === 'open') writeFrame(s, chosen, frame.type, messageId, frame);
  const ack = await acked;
  const ms = s.now() - startedAt;
  if (chosen.state === 'zombie' && typeof ack === 'string') return { ...attempt, ms, outcome: 'swallowed' };
  if (typeof ack === 'string') return { ...attempt, ms, outcome: ack };
  return { ...attempt, ms, outcome: outcomeOfAck(frame, ack), answer: ack.answer };
}

function outcomeOfAck(frame: Frame, ack: Ack): Attempt['outcome'] {
  if (ack.code !== 200) return 'refused';
  return frame.type === 'EVENT' && objectOf(ack.answer).status === 'LATER' ? 'later' : 'acked';
}

function waitForAck(c: Connection, messageId: string, timeoutMs: number): Promise<Ack | 'broken' | 'timeout'> {
  return new Promise((resolve) => {
    const settle = (ack: Ack | 'broken' | 'timeout'): void => {
      clearTimeout(timer);
      c.waiting.delete(messageId);
      resolve(ack);
    };
    const timer = setTimeout(() => settle('timeout'), timeoutMs);
    c.waiting.set(messageId, settle);
    if (c.socket.readyState !== c.socket.OPEN) settle('broken');
  });
}

function receiveAck(connection: Connection, raw: string): void {
  const ack = parseObject(raw);
  const messageId = objectOf(ack?.headers).messageId;
  if (ack === undefined || typeof messageId !== 'string') return;
  const answer = typeof ack.data === 'string' ? (parseObject(ack.data) ?? ack.data) : ack.data;
  connection.waiting.get(messageId)?.({ code: ack.code, answer: isObject(answer) ? answer : (answer ?? null) });
}

/** Every header value is text and `data` is always JSON inside a string (reference section 2.3). */
function writeFrame(s: Simulation, c: Connection, type: string, messageId: string, frame: Omit<Frame, 'type'>): void {
  const headers = {
    ...{ appId: c.appKey, connectionId: c.id, contentType: 'application/json', messageId },
    ...{ time: `${s.now()}`, topic: frame.topic, ...frame.headers },
  };
  c.socket.send(JSON.stringify({ specVersion: '1.0', type, headers, data: frame.data }));
}

function startClocks(s: Simulation, c: Connection): void {
  for (const stop of c.stopTimers.splice(0)) stop();
  const { pingIntervalMs, disconnectAfterMs } = s.faults;
  if (pingIntervalMs > 0) {
    const timer = setInterval(() => {
      const data = JSON.stringify({ opaque: freshId(8) });
      if (c.state === 'open') writeFrame(s, c, 'SYSTEM', freshId(), { topic: 'ping', data });
    }, s.scaled(pingIntervalMs));
    c.stopTimers.push(() => clearInterval(timer));
  }
  if (disconnectAfterMs !== null) {
    const [min, max] = disconnectAfterMs;
    const ms = s.scaled(min + s.random() * Math.max(0, max - min));
    const timer = setTimeout(() => endConnection(s, c, s.faults.disconnectMode), ms);
    c.stopTimers.push(() => clearTimeout(timer));
  }
}

function endConnection(s: Simulation, c: Connection, mode: DisconnectMode): void {
  if (c.state !== 'open') return;
  if (mode === 'zombie') {
    c.state = 'zombie';
    return;
  }
  if (mode === 'abrupt') {
    c.socket.terminate();
    return;
  }
  const data = JSON.stringify({ reason: 'persistent connection is timeout' });
  writeFrame(s, c, 'SYSTEM', freshId(), { topic: 'disconnect', data });
  c.state = 'leaving';
  // Silent from here on; the server closes TCP after ten seconds.
  const timer = setTimeout(() => c.socket.terminate(), s.scaled(s.faults.disconnectCloseMs));
  c.socket.once('close', () => clearTimeout(timer));
}
