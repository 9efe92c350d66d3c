import { createHash } from 'node:crypto';
import { newId, sealText, type Logger, type SealKeys } from '@steward/service-kit';
import { parseRobotMessage, type RobotMessageView } from '@steward/dingtalk';
import { replyAddressContext, sealedSchema, type InboundReceived, type ReplyAddress } from '@steward/contracts';
import { refuse } from './door-refusal.ts';
import type { InboundRecorder, NewInbound, Recorded } from './record-inbound.ts';
import type { Robot } from './robots.ts';

/** How a payload came in: which door, the frame id when it was the Stream, and the id that follows it from here on. */
export type Door = { door: 'http' | 'stream'; transportId: string | null; correlationId: string };

export type ReceiveContext = {
  recorder: InboundRecorder;
  replyKeys: SealKeys;
  log: Logger;
  now: () => Date;
  /** What somebody who pressed a button is shown until the card itself changes. */
  clickNote: (at: Date) => string;
};

/**
 * Takes a robot message that a door has authenticated, and resolves when it is committed: only then may it be
 * acknowledged. Refuses (BODY_MALFORMED, ROBOT_MISMATCH) what is not a message for this robot. The payload's robotCode
 * must be the robot's own, because the signature does not cover the body.
 */
export async function receiveRobotMessage(
  context: ReceiveContext,
  robot: Robot,
  payload: unknown,
  door: Door,
): Promise<Recorded & { msgId: string; createdAt: string }> {
  const parsed = parseRobotMessage(payload);
  if (!parsed.ok) throw refuse('BODY_MALFORMED', new Error(parsed.faults));
  const { view } = parsed;
  if (view.robotCode !== null && view.robotCode !== robot.code) throw refuse('ROBOT_MISMATCH');
  const recorded = await context.recorder.record(
    toNewInbound(context, robot, view, { ...door, bodyHashHex: hashBody(view, payload) }),
  );
  context.log.info('inbound.recorded', {
    correlationId: door.correlationId,
    inboundEventId: recorded.inboundEventId,
    robot: robot.name,
    door: door.door,
    duplicate: recorded.duplicate,
    content: view.content.kind,
  });
  return { ...recorded, msgId: view.msgId, createdAt: String(view.createdAtMs) };
}

function toNewInbound(
  context: ReceiveContext,
  robot: Robot,
  view: RobotMessageView,
  door: Door & { bodyHashHex: string },
): NewInbound {
  const message = toInboundReceived(context, robot, view, door);
  // What the robot itself said is no request: known, so that it is refused again, and told to nobody.
  const echo = view.isOwnEcho ? ({ conversationId: null, message: null, ignored: 'own_echo' } as const) : {};
  return {
    id: message.body.inboundEventId,
    kind: 'robot_message',
    source: robot.code,
    sourceId: view.msgId,
    conversationId: view.conversationId,
    ...door,
    environment: robot.environment,
    staffId: message.body.requester.staffId,
    corpId: view.sender.corpId,
    message,
    ...echo,
  };
}

function toInboundReceived(
  context: ReceiveContext,
  robot: Robot,
  view: RobotMessageView,
  { door, correlationId }: Door,
): InboundReceived {
  const inboundEventId = newId();
  const now = context.now();
  return {
    type: 'inbound.received.v1',
    id: newId(),
    correlationId,
    causationId: inboundEventId,
    occurredAt: now.toISOString(),
    body: {
      inboundEventId,
      msgId: view.msgId,
      // The ledger puts the real number here when it records the event.
      sequence: 1,
      environment: robot.environment,
      conversation: {
        robotCode: robot.code,
        conversationId: view.conversationId,
        kind: view.conversationKind,
        title: view.title,
      },
      requester: trustSender(robot, view.sender),
      content: view.content,
      replyAddress: sealReplyAddress(context, robot, view),
      sentAt: new Date(view.createdAtMs ?? now.getTime()).toISOString(),
      door,
    },
  };
}

/** The session webhook under seal. One that is too long to travel is none: the answer takes the other way. */
function sealReplyAddress(
  { replyKeys }: ReceiveContext,
  robot: Robot,
  { replyAddress, conversationId }: RobotMessageView,
): ReplyAddress | null {
  if (replyAddress === null) return null;
  const sealedUrl = sealText(replyKeys, replyAddress.sessionWebhook, replyAddressContext(robot.code, conversationId));
  const expiresAt = new Date(replyAddress.expiresAtMs).toISOString();
  return sealedSchema.safeParse(sealedUrl).success ? { sealedUrl, expiresAt } : null;
}

/** A staff id means somebody only inside the robot's own organisation. */
function trustSender(robot: Robot, sender: RobotMessageView['sender']): RobotMessageView['sender'] {
  const foreign = sender.corpId !== null && sender.corpId !== robot.corpId;
  return foreign ? { ...sender, staffId: null } : sender;
}

/**
 * The same message has the same hash, whatever way it comes: a redelivery may carry another session webhook, so that is
 * not part of it. Two bodies under one msgId are a security finding.
 */
function hashBody(view: RobotMessageView, payload: unknown): string {
  const { content, sender, conversationId, createdAtMs } = view;
  return createHash('sha256')
    .update(JSON.stringify([content, sender.staffId, sender.corpId, conversationId, createdAtMs]))
    .update(rawContentOf(payload))
    .digest('hex');
}

/** Also what the view leaves out, such as which picture it was. */
function rawContentOf(payload: unknown): string {
  const { msgtype, text, content } = Object(payload) as Record<string, unknown>; // it was parsed as a record already
  try {
    return JSON.stringify([msgtype, text, content]);
  } catch {
    return 'nested too deep to be written';
  }
}
