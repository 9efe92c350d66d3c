import { apiError } from './api-errors.ts';
import type { ApiErrorCode } from './api-errors.ts';
import { createGuard } from './api-guard.ts';
import { ok, parseObject, textField } from './reply.ts';
import type { ApiRequest, ApiRoute, Reply } from './reply.ts';
import { findAppOfRobot } from './simulation.ts';
import type { SentKey, Simulation } from './simulation.ts';
import { readText } from './webhook-bodies.ts';
import { singleChatId } from './world.ts';

export const DAY_MS = 86_400_000;
const MAX_QUERY_RESULTS = 200;
const link = ['text', 'title', 'picUrl', 'messageUrl'];
const card = (buttons: number): string[] => [
  ...['title', 'text'],
  ...Array.from({ length: buttons }, (_, at) => [`actionTitle${at + 1}`, `actionURL${at + 1}`]).flat(),
];

/** The fields each template must carry (reference section 5.3, msgKey table). */
const msgKeyFields: Record<string, string[]> = {
  sampleText: ['content'],
  sampleMarkdown: ['title', 'text'],
  sampleImageMsg: ['photoURL'],
  sampleLink: link,
  sampleActionCard: ['title', 'text', 'singleTitle', 'singleURL'],
  sampleActionCard2: card(2),
  sampleActionCard3: card(3),
  sampleActionCard4: card(4),
  sampleActionCard5: card(5),
  // The spelling Url is this template's own.
  sampleActionCard6: ['title', 'text', 'buttonTitle1', 'buttonUrl1', 'buttonTitle2', 'buttonUrl2'],
  sampleAudio: ['mediaId', 'duration'],
  sampleFile: ['mediaId', 'fileName', 'fileType'],
  sampleVideo: ['duration', 'videoMediaId', 'videoType', 'picMediaId'],
};

/** Proactive robot messages of api.dingtalk.com and their read status (reference section 5.3). */
export function createRobotRoutes(simulation: Simulation): Record<string, ApiRoute> {
  const guarded = createGuard(simulation);
  return {
    'POST /v1.0/robot/oToMessages/batchSend': guarded((request, appKey) => batchSend(simulation, request, appKey)),
    'POST /v1.0/robot/groupMessages/send': guarded((request, appKey) => groupSend(simulation, request, appKey)),
    'GET /v1.0/robot/oToMessages/readStatus': guarded(({ query }) => readStatus(simulation, query)),
    'POST /v1.0/robot/groupMessages/query': guarded(({ body }) => queryGroup(simulation, body)),
  };
}

function batchSend(s: Simulation, { body }: ApiRequest, appKey: string): Reply {
  const userIds = Array.isArray(body.userIds) ? body.userIds.map(String) : [];
  const refused = findRobotRefusal(s, body, appKey);
  if (refused) return apiError(refused);
  if (userIds.length === 0) return apiError('invalidParameter.userIds.empty');
  if (userIds.length > s.faults.batchMaxUsers) return apiError('invalidParameter.userIds.overMax');
  const template = readTemplate(s, body);
  if ('refused' in template) return apiError(template.refused);

  const robotCode = textField(body, 'robotCode');
  const known = new Set(s.world.people.map((person) => person.staffId));
  const flowControlled = userIds.filter((id) => known.has(id) && s.faults.flowControlledStaffIds.includes(id));
  const staffIds = userIds.filter((id) => known.has(id) && !flowControlled.includes(id));
  const processQueryKey = s.sentKeys.issue({ robotCode, staffIds }, s.scaled(DAY_MS));
  for (const staffId of staffIds) {
    const conversationId = singleChatId(s.world, robotCode, staffId);
    const from = { kind: 'robot' as const, id: robotCode };
    s.chat.add({
      at: s.now(),
      conversationId,
      staffId,
      from,
      via: 'batchSend',
      ...template,
      mentions: [],
      processQueryKey,
    });
  }
  const invalidStaffIdList = userIds.filter((id) => !known.has(id));
  return ok(
    { processQueryKey, invalidStaffIdList, flowControlledStaffIdList: flowControlled },
    { robot: robotCode, staffIds, text: template.text, processQueryKey },
  );
}

function groupSend(s: Simulation, { body }: ApiRequest, appKey: string): Reply {
  const refused = findRobotRefusal(s, body, appKey);
  if (refused) return apiError(refused);
  const robotCode = textField(body, 'robotCode');
  const conversationId = textField(body, 'openConversationId');
  if (conversationId === '') return apiError('miss.openConversationId');
  const room = s.world.rooms.find((known) => known.conversationId === conversationId);
  // A 1:1 chat is not a valid target either (section 1.2, conversationId). No source names the code for a robot
  // that is not in the group; the nearest documented one is used.
  if (room?.kind !== 'group' || !room.robots.includes(robotCode)) return apiError('invalid.openConversationId');
  const template = readTemplate(s, body);
  if ('refused' in template) return apiError(template.refused);

  const key: SentKey = { robotCode, staffIds: room.members, conversationId };
  const processQueryKey = s.sentKeys.issue(key, s.scaled(DAY_MS));
  const from = { kind: 'robot' as const, id: robotCode };
  s.chat.add({ at: s.now(), conversationId, from, via: 'groupSend', ...template, mentions: [], processQueryKey });
  return ok({ processQueryKey }, { robot: robotCode, conversationId, text: template.text, processQueryKey });
}

/** Why this app may not speak as the robot that a body names. */
export function findRobotRefusal(
  s: Simulation,
  body: Record<string, unknown>,
  appKey: string,
): ApiErrorCode | undefined {
  const robotCode = textField(body, 'robotCode');
  if (robotCode === '') return 'invalidParameter.robotCode.empty';
  const app = findAppOfRobot(s.world, robotCode);
  if (app?.robotCode !== robotCode) return 'invalidParameter.robotCode.notExsit';
  return app.appKey === appKey ? undefined : 'invalidParameter.robotCode.auth';
}

type Template = { msgtype: string; text: string; content: unknown };

function readTemplate(s: Simulation, body: Record<string, unknown>): Template | { refused: ApiErrorCode } {
  const msgtype = textField(body, 'msgKey');
  const fields = Object.hasOwn(msgKeyFields, msgtype) ? msgKeyFields[msgtype] : undefined;
  if (fields === undefined) return { refused: 'invalidParameter.msgKey.invalid' };
  if (typeof body.msgParam !== 'string') return { refused: 'invalidParameter.msgParam.invalid' };
  if (Buffer.byteLength(body.msgParam) > s.faults.msgParamMaxBytes)
    return { refused: 'invalidParameter.msgParam.tooLong' };
  const content = parseObject(body.msgParam);
  if (content === undefined || fields.some((name) => typeof content[name] !== 'string')) {
    return { refused: 'invalidParameter.msgParam.invalid' };
  }
  return { msgtype, content, text: readText(content) };
}

function readStatus(s: Simulation, query: URLSearchParams): Reply {
  const sent = s.sentKeys.find(query.get('processQueryKey') ?? '');
  if (!query.get('processQueryKey')) return apiError('miss.param.processQueryKey');
  if (sent === undefined || sent.isExpired || sent.value.robotCode !== query.get('robotCode')) {
    return apiError('resource.not.found');
  }
  const messageReadInfoList = sent.value.staffIds.map((userId) => ({
    name: s.world.people.find((person) => person.staffId === userId)?.name ?? '',
    userId,
    readStatus: s.faults.messagesRead ? 'READ' : 'UNREAD',
  }));
  return ok({ sendStatus: statusOf(sent.value), messageReadInfoList });
}

const statusOf = ({ recalled }: SentKey): string => (recalled === true ? 'RECALLED' : 'SUCCESS');

function queryGroup(s: Simulation, body: Record<string, unknown>): Reply {
  const sent = s.sentKeys.find(textField(body, 'processQueryKey'));
  if (textField(body, 'processQueryKey') === '') return apiError('miss.param.processQueryKey');
  const isOurs = sent?.value.robotCode === body.robotCode && sent?.value.conversationId === body.openConversationId;
  if (sent === undefined || sent.isExpired || !isOurs) return apiError('resource.not.found');
  const read = s.faults.messagesRead ? sent.value.staffIds : [];
  const from = Number(body.nextToken ?? 0) || 0;
  const asked = typeof body.maxResults === 'number' ? body.maxResults : MAX_QUERY_RESULTS;
  const readUserIds = read.slice(from, from + Math.min(asked, MAX_QUERY_RESULTS));
  const hasMore = from + readUserIds.length < read.length;
  return ok({
    sendStatus: statusOf(sent.value),
    readUserIds,
    hasMore,
    ...(hasMore && { nextToken: `${from + readUserIds.length}` }),
  });
}
