import type { Lane, OutboundContentV2, OutboundTarget } from '@steward/contracts';
import type { DeliveryPath } from './database.ts';

/** A reply address this close to its end may die on the way. */
const expiryMarginMs = 30_000;

/**
 * How a message can be delivered now: through the reply address while it lives (only it can @ somebody and it costs no
 * API call), else through the OpenAPI. Cards and recalls have one path each and need the robot's app: no reply address and no
 * custom robot can carry them. Null when there is no way, for example a single chat with a person without a staff id whose
 * reply address is dead.
 */
export function choosePath(o: {
  target: OutboundTarget;
  content: Pick<OutboundContentV2, 'kind'>;
  sessionGone: boolean;
  nowMs: number;
}): DeliveryPath | null {
  const { target, content } = o;
  switch (content.kind) {
    case 'text':
    case 'markdown':
      return chooseTextPath({ ...o, target });
    case 'card':
    case 'card_update':
    case 'recall':
      return target.kind === 'group' || target.kind === 'person' ? content.kind : null;
    default:
      return content.kind satisfies never;
  }
}

function chooseTextPath(o: { target: OutboundTarget; sessionGone: boolean; nowMs: number }): DeliveryPath | null {
  const { target } = o;
  switch (target.kind) {
    case 'group':
      return 'group_openapi';
    case 'person':
      return 'person_openapi';
    case 'custom_robot':
      return 'custom_robot';
    case 'reply': {
      const expiresAtMs = target.replyAddress ? Date.parse(target.replyAddress.expiresAt) : 0;
      if (!o.sessionGone && expiresAtMs - expiryMarginMs > o.nowMs) return 'session_webhook';
      if (target.conversation.kind === 'group') return 'group_openapi';
      return target.staffId === null ? null : 'person_openapi';
    }
    default:
      return target satisfies never;
  }
}

/** The lane that a message waits in: what a card shows is what people decide by, so it goes before answers. */
export function laneOf(lane: Lane, content: Pick<OutboundContentV2, 'kind'>): Lane {
  const isCard = content.kind === 'card' || content.kind === 'card_update';
  return isCard && lane !== 'control' ? 'approval' : lane;
}

/** Whose send budget a message spends: the robot's, or the custom robot's. */
export function budgetOf(target: OutboundTarget): string {
  switch (target.kind) {
    case 'reply':
      return `robot ${target.conversation.robotCode}`;
    case 'group':
    case 'person':
      return `robot ${target.robotCode}`;
    case 'custom_robot':
      return `custom_robot ${target.robot}`;
    default:
      return target satisfies never;
  }
}
