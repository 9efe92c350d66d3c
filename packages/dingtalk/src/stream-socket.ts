import { WebSocket } from 'ws';
import type { RawData } from 'ws';
import { buildPong, parseStreamFrame } from './stream-frame.ts';
import type { StreamAck, StreamFrame } from './stream-frame.ts';
import { repeatEvery } from './stream-timers.ts';
import type { StreamTimers } from './stream-timers.ts';

export type StreamLimits = {
  /** How often we ping. */
  pingEveryMs: number;
  /** No frame of any kind for so long, pongs included: the socket is dead. */
  deadAfterMs: number;
  /** Pongs but no text frame for so long: perhaps a zombie; it is replaced while it lives. */
  quietAfterMs: number;
};

/** One WebSocket to the gateway. */
export type StreamSocket = {
  /** Drops the answer if the socket is gone: an ack belongs to the socket of its frame and no other. */
  send(ack: StreamAck): void;
  close(): void;
  /** At once; `code` is what the story's end then says. */
  terminate(code?: string): void;
  /** The platform's id, known from the first frame on. */
  connectionId: string | null;
  openedAtMs: number | null;
  /** The server said it will deliver nothing more here, or we gave up on it. */
  goneAway: boolean;
};

type SocketStory = {
  opened(socket: StreamSocket): void;
  /** Any inbound frame, pongs included. */
  alive(atMs: number): void;
  pushed(socket: StreamSocket, frame: StreamFrame): void;
  goingAway(socket: StreamSocket, reason: string): void;
  /** Once, and last, whether it ever opened or not. `code` is a close code, the error's code, or `SILENT`: no frame for too long. */
  closed(socket: StreamSocket, code: string): void;
};

const handshakeTimeoutMs = 10_000;
const maxFrameBytes = 1_048_576;

/** Dials; everything after is told through `story`. SYSTEM frames are answered here. Throws only on a malformed address. */
export function dialStreamSocket(o: {
  address: string;
  limits: StreamLimits;
  timers: StreamTimers;
  story: SocketStory;
}): StreamSocket {
  const ws = new WebSocket(o.address, {
    handshakeTimeout: handshakeTimeoutMs,
    maxPayload: maxFrameBytes,
    perMessageDeflate: false,
  });
  const { now } = o.timers;
  const seen = { frameAtMs: now(), textAtMs: now() };
  let failure: string | null = null;
  let stopHeartbeat = () => {};
  const socket: StreamSocket = {
    send: (ack) => {
      if (ws.readyState === WebSocket.OPEN) ws.send(JSON.stringify(ack));
    },
    close: () => ws.close(1000),
    terminate: (code) => {
      failure = code ?? failure;
      ws.terminate();
    },
    connectionId: null,
    openedAtMs: null,
    goneAway: false,
  };
  const alive = () => {
    seen.frameAtMs = now();
    o.story.alive(seen.frameAtMs);
  };
  const goAway = (reason: string) => {
    if (socket.goneAway) return;
    socket.goneAway = true;
    o.story.goingAway(socket, reason);
  };
  const beat = () => {
    if (now() - seen.frameAtMs > o.limits.deadAfterMs) return socket.terminate('SILENT');
    if (now() - seen.textAtMs > o.limits.quietAfterMs) goAway('no frame for long');
    if (ws.readyState === WebSocket.OPEN) ws.ping();
  };
  ws.on('open', () => {
    socket.openedAtMs = now();
    alive();
    seen.textAtMs = now();
    stopHeartbeat = repeatEvery(o.timers, o.limits.pingEveryMs, beat);
    o.story.opened(socket);
  });
  ws.on('ping', alive);
  ws.on('pong', alive);
  ws.on('message', (raw: RawData) => {
    alive();
    seen.textAtMs = now();
    const frame = parseStreamFrame(toText(raw));
    if (frame === null) return;
    socket.connectionId ??= frame.connectionId;
    if (frame.type !== 'SYSTEM') return o.story.pushed(socket, frame);
    if (frame.topic === 'disconnect') return goAway('the server is about to disconnect');
    if (frame.topic === 'ping' && frame.messageId !== null) socket.send(buildPong(frame.messageId, frame.data));
  });
  // 'close' always follows 'error': only it ends the story, or each failure would be counted twice.
  ws.on('error', (error) => (failure = toErrorCode(error)));
  ws.on('close', (code) => {
    stopHeartbeat();
    o.story.closed(socket, failure ?? String(code));
  });
  return socket;
}

function toText(raw: RawData): string {
  return (Array.isArray(raw) ? Buffer.concat(raw) : Buffer.from(new Uint8Array(raw))).toString('utf8');
}

/** Never the error's text where it could quote the address with its ticket. */
function toErrorCode(error: Error & { code?: unknown }): string {
  if (typeof error.code === 'string') return error.code;
  return /^Unexpected server response: \d{3}$/.test(error.message) ? `HTTP_${error.message.slice(-3)}` : error.name;
}
