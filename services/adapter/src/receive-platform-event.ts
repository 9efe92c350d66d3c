import { createHash } from 'node:crypto';
import { newId } from '@steward/service-kit';
import type { PlatformEventView } from '@steward/dingtalk';
import type { Door, ReceiveContext } from './receive-robot-message.ts';
import type { Robot } from './robots.ts';

/**
 * Takes an event of the organisation (somebody left, an approval moved) and resolves when it stands in the ledger. No part
 * of Steward acts on these yet, so nobody else is told.
 */
export async function receivePlatformEvent(
  context: ReceiveContext,
  robot: Robot,
  view: PlatformEventView,
  door: Door,
): Promise<void> {
  const bodyHashHex = createHash('sha256')
    .update(JSON.stringify([view.eventType, view.payload]))
    .digest('hex');
  const { duplicate } = await context.recorder.record({
    id: newId(),
    kind: 'platform_event',
    source: robot.appKey,
    // Every documented event has an id; for one without, the same body counts as the same event.
    sourceId: view.eventId ?? bodyHashHex,
    conversationId: null,
    ...door,
    bodyHashHex,
    environment: robot.environment,
    staffId: null,
    corpId: view.corpId,
    message: null,
  });
  context.log.info('platform.event.recorded', {
    correlationId: door.correlationId,
    robot: robot.name,
    eventType: view.eventType,
    duplicate,
  });
}
