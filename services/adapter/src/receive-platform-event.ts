import { createHash } from 'node:crypto';
import { newId } from '@steward/service-kit';
import { readPersonChange, type PersonChange, type PlatformEventView } from '@steward/dingtalk';
import type { PersonChanged } from '@steward/contracts';
import type { Door, ReceiveContext } from './receive-robot-message.ts';
import type { Robot } from './robots.ts';

/**
 * Takes an event of the organisation (somebody left, an approval moved) and resolves when it stands in the ledger. Of those
 * about people agent-core is told, for what it knows of them is out of date; the others stay recorded and nothing more.
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
  const inboundEventId = newId();
  const change = readPersonChange(view);
  const message =
    change === null
      ? null
      : toPersonChanged({ inboundEventId, change, corpId: view.corpId ?? robot.corpId, door, context });
  const { duplicate } = await context.recorder.record({
    id: inboundEventId,
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
    message,
  });
  context.log.info('platform.event.recorded', {
    correlationId: door.correlationId,
    robot: robot.name,
    eventType: view.eventType,
    duplicate,
    ...(change && { change: change.change, people: change.staffIds.length }),
  });
  if (change?.isCut) context.log.warn('person.change.cut', { correlationId: door.correlationId, robot: robot.name });
}

function toPersonChanged(o: {
  inboundEventId: string;
  change: PersonChange;
  corpId: string;
  door: Door;
  context: ReceiveContext;
}): PersonChanged {
  const { inboundEventId, corpId } = o;
  const { staffIds, change } = o.change;
  return {
    type: 'person.changed.v1',
    id: newId(),
    correlationId: o.door.correlationId,
    causationId: inboundEventId,
    occurredAt: o.context.now().toISOString(),
    body: { inboundEventId, corpId, staffIds, change },
  };
}
