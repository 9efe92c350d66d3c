import { freshId } from './random.ts';
import type { Simulation } from './simulation.ts';
import { encryptedId } from './world.ts';
import type { SimulatorApp, SimulatorPerson, SimulatorRoom } from './world.ts';

export type Saying = {
  app: SimulatorApp;
  person: SimulatorPerson;
  /** The group; absent for a 1:1 chat. */
  room?: SimulatorRoom;
  conversationId: string;
  text: string;
  msgId: string;
};

/** A message id of the platform's form; the same for every push of one message. */
export function buildMsgId(): string {
  return `msg${Buffer.from(freshId(), 'hex').toString('base64')}`;
}

/** The callback of a text message, the same over HTTP and Stream (reference section 1.2), with a new session webhook. */
export function buildRobotPayload(s: Simulation, o: Saying): Record<string, unknown> {
  const { app, person, room, conversationId } = o;
  const sessionTtlMs = s.scaled(s.faults.sessionTtlMs);
  const staff = room === undefined ? { staffId: person.staffId } : {};
  const session = s.sessions.issue({ robotCode: app.robotCode, conversationId, ...staff }, sessionTtlMs);
  const chatbotUserId = encryptedId(s.world, app.robotCode);
  const createAt = s.now();
  return {
    msgtype: 'text',
    // A group text keeps the space where the @ of the robot was.
    text: { content: room === undefined ? o.text : ` ${o.text}` },
    msgId: o.msgId,
    createAt,
    conversationType: room === undefined ? '1' : '2',
    conversationId,
    ...(room && { conversationTitle: room.title }),
    senderId: encryptedId(s.world, person.staffId),
    senderStaffId: person.staffId,
    senderNick: person.name,
    senderCorpId: s.world.corpId,
    senderPlatform: 'Mac',
    isAdmin: person.roles?.includes('admin') ?? false,
    chatbotCorpId: s.world.corpId,
    chatbotUserId,
    robotCode: app.robotCode,
    ...(room && { isInAtList: true, atUsers: [{ dingtalkId: chatbotUserId }] }),
    sessionWebhook: `${s.publicUrl}/robot/sendBySession?session=${session}`,
    sessionWebhookExpiredTime: createAt + sessionTtlMs,
  };
}

/** The callback of a click on a card (reference section 7.4): `content` and `value` are JSON inside a string. */
export function buildCardPayload(o: {
  outTrackId: string;
  corpId: string;
  staffId: string;
  spaceId?: string;
  actionIds: readonly string[];
  params: Record<string, unknown>;
}): Record<string, unknown> {
  const content = JSON.stringify({ cardPrivateData: { actionIds: o.actionIds, params: o.params } });
  return {
    type: 'actionCallback',
    outTrackId: o.outTrackId,
    corpId: o.corpId,
    userId: o.staffId,
    userIdType: 1,
    spaceType: 'IM',
    ...(o.spaceId !== undefined && { spaceId: o.spaceId }),
    extension: '{}',
    content,
    value: content,
  };
}
