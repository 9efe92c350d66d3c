import { isRetryable, newId, type Logger, type Readiness } from '@steward/service-kit';
import { createStreamClient, type StreamClient, type StreamPush } from '@steward/dingtalk';
import type { RejectionCounter } from './count-rejections.ts';
import { toRefusal } from './door-refusal.ts';
import { receiveCardClick } from './receive-card-click.ts';
import { receivePlatformEvent } from './receive-platform-event.ts';
import { receiveRobotMessage, type Door, type ReceiveContext } from './receive-robot-message.ts';
import type { Robot } from './robots.ts';

export type StreamDoors = { checks(): Readiness; close(): Promise<void> };

/**
 * Opens a Stream connection for each robot that uses one. The socket is the proof of who sends; a frame is acknowledged
 * only after its event is committed, and one that could not be recorded is left for the platform to deliver again.
 */
export function openStreamDoors(
  o: ReceiveContext & { robots: readonly Robot[]; rejections: RejectionCounter; apiUrl: string; log: Logger },
): StreamDoors {
  const clients = new Map(
    o.robots.filter(({ doors }) => doors.includes('stream')).map((robot) => [robot.name, openStreamDoor(o, robot)]),
  );
  return {
    checks: () => Object.fromEntries([...clients].map(([name, client]) => [`stream ${name}`, checkStream(client)])),
    close: async () => {
      await Promise.all([...clients.values()].map((client) => client.close()));
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

/** Ready means that frames can flow. */
function checkStream(client: StreamClient): { ok: boolean; detail: string } {
  const { connected, lastFrameAtMs, reconnects } = client.status();
  const lastFrame = lastFrameAtMs === null ? 'none yet' : new Date(lastFrameAtMs).toISOString();
  return { ok: connected, detail: `last frame ${lastFrame}, ${reconnects} reconnects` };
}
