import { isRetryable, newId, type Logger, type Readiness } from '@steward/service-kit';
import { createStreamClient, type StreamClient, type StreamPush, type StreamStatus } from '@steward/dingtalk';
import type { RejectionCounter } from './count-rejections.ts';
import { toRefusal } from './door-refusal.ts';
import { receiveCardClick } from './receive-card-click.ts';
import { receivePlatformEvent } from './receive-platform-event.ts';
import { receiveRobotMessage, type Door, type ReceiveContext } from './receive-robot-message.ts';
import type { Robot } from './robots.ts';
import type { StreamLink } from './watch-links.ts';

export type StreamDoors = { checks(): Readiness; links: readonly StreamLink[]; close(): Promise<void> };

/** Of one robot in one process: while one is replaced, or falls, the other hears what is pushed (protocol: several connections). */
const connectionsOfRobot = 2;

/**
 * Opens Stream connections for each robot that uses them. The socket is the proof of who sends; a frame is acknowledged
 * only after its event is committed, and one that could not be recorded is left for the platform to deliver again.
 */
export function openStreamDoors(
  o: ReceiveContext & { robots: readonly Robot[]; rejections: RejectionCounter; apiUrl: string; log: Logger },
): StreamDoors {
  const doors = o.robots
    .filter(({ doors }) => doors.includes('stream'))
    .map((robot) => {
      const clients = Array.from({ length: connectionsOfRobot }, () => openStreamDoor(o, robot));
      return { robot, clients, status: () => joinStatus(clients.map((client) => client.status())) };
    });
  return {
    checks: () => Object.fromEntries(doors.map(({ robot, status }) => [`stream ${robot.name}`, check(status())])),
    links: doors,
    close: async () => {
      await Promise.all(doors.flatMap(({ clients }) => clients.map((client) => client.close())));
    },
  };
}

function openStreamDoor(o: Parameters<typeof openStreamDoors>[0], robot: Robot): StreamClient {
  const door = ({ messageId }: StreamPush): Door => ({
    door: 'stream',
    transportId: messageId,
    correlationId: newId(),
  });
  /** A frame that can never be taken is counted and acknowledged: delivering it again would change nothing. */
  const unlessRefused = async <T>(work: Promise<T>): Promise<T | null> => {
    try {
      return await work;
    } catch (error) {
      const { reason } = toRefusal(error);
      o.rejections.count('stream', reason);
      if (isRetryable(error)) throw error;
      o.log.warn('stream.frame.refused', { robot: robot.name, reason, error });
      return null;
    }
  };
  const client = createStreamClient({
    apiUrl: o.apiUrl,
    clientId: robot.appKey,
    clientSecret: robot.appSecret,
    log: o.log.child({ robot: robot.name }),
    receivers: {
      robotMessage: async (payload, push) => {
        await unlessRefused(receiveRobotMessage(o, robot, payload, door(push)));
      },
      cardCallback: (payload, push) => unlessRefused(receiveCardClick(o, robot, payload, door(push))),
      platformEvent: async (view, push) => {
        await unlessRefused(receivePlatformEvent(o, robot, view, door(push)));
        return 'SUCCESS';
      },
    },
  });
  client.start();
  return client;
}

/** Of several connections: deaf only since the last of them was. */
function joinStatus(all: readonly StreamStatus[]): StreamStatus {
  const latest = (times: readonly (number | null)[]) =>
    times.reduce((a, b) => (a === null || (b ?? 0) > a ? b : a), null);
  const connected = all.some((one) => one.connected);
  return {
    connected,
    deafSinceMs: connected ? null : latest(all.map((one) => one.deafSinceMs)),
    lastFrameAtMs: latest(all.map((one) => one.lastFrameAtMs)),
    connectionIds: all.flatMap((one) => one.connectionIds),
    reconnects: all.reduce((sum, one) => sum + one.reconnects, 0),
  };
}

/** Ready means that frames can flow. */
function check({ connected, lastFrameAtMs, reconnects }: StreamStatus): { ok: boolean; detail: string } {
  const lastFrame = lastFrameAtMs === null ? 'none yet' : new Date(lastFrameAtMs).toISOString();
  return { ok: connected, detail: `last frame ${lastFrame}, ${reconnects} reconnects` };
}
