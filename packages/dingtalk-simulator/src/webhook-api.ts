import { BlockList } from 'node:net';
import { requireLegacyApp } from './oauth.ts';
import { oapiError, oapiIpRefused, oapiOk } from './oapi-errors.ts';
import { ok, textField } from './reply.ts';
import type { ApiRequest, ApiRoute, Reply } from './reply.ts';
import { buildSign } from './signatures.ts';
import { findAppOfRobot } from './simulation.ts';
import type { Simulation } from './simulation.ts';
import { readWebhookBody } from './webhook-bodies.ts';
import type { SimulatorCustomRobot } from './world.ts';

const FAILED_EVENTS_PER_READ = 200;

/** The webhooks of oapi.dingtalk.com (reference sections 5.1, 5.2) and the list of failed events (section 3.4). */
export function createWebhookRoutes(simulation: Simulation): Record<string, ApiRoute> {
  return {
    // Any method: a wrong one is answered with an errcode, not with a status.
    'ANY /robot/send': (request) => robotSend(simulation, request),
    'ANY /robot/sendBySession': (request) => sendBySession(simulation, request),
    'GET /call_back/get_call_back_failed_result': (request) => readFailedEvents(simulation, request),
  };
}

function robotSend(s: Simulation, request: ApiRequest): Reply {
  if (request.method !== 'POST') return oapiError('oapi.43002');
  const accessToken = request.query.get('access_token') ?? '';
  if (accessToken === '') return oapiError('oapi.40035.access_token');
  const robot = s.world.customRobots.find((known) => known.accessToken === accessToken);
  if (robot === undefined) return oapiError('oapi.300005');
  const content = readContent(s, request);
  if ('refusal' in content) return content.refusal;
  const insecure = findSecurityRefusal(s, robot, request, `${textField(content.content, 'title')} ${content.text}`);
  if (insecure) return insecure;

  // The same msgUuid again is the same message: answered as the first time, shown once, and not counted.
  const msgUuid = textField(request.body, 'msgUuid');
  const repeated = msgUuid !== '' && s.msgUuids.has(`${accessToken} ${msgUuid}`);
  const { conversationId } = robot;
  const sent = { robot: accessToken, conversationId, text: content.text };
  if (repeated) return { ...ok(oapiOk, sent), outcome: 'ok (repeated msgUuid)' };
  const tooFast = findRateRefusal(s, accessToken);
  if (tooFast) return tooFast;

  if (msgUuid !== '') rememberUuid(s.msgUuids, `${accessToken} ${msgUuid}`);
  const from = { kind: 'customRobot' as const, id: accessToken };
  s.chat.add({ at: s.now(), conversationId, from, via: 'customRobot', ...content });
  return ok(oapiOk, sent);
}

const REMEMBERED_UUIDS = 200_000;

function rememberUuid(uuids: Set<string>, uuid: string): void {
  uuids.add(uuid);
  const oldest = uuids.size > REMEMBERED_UUIDS ? uuids.values().next().value : undefined;
  if (oldest !== undefined) uuids.delete(oldest);
}

function sendBySession(s: Simulation, request: ApiRequest): Reply {
  if (request.method !== 'POST') return oapiError('oapi.43002');
  const session = s.sessions.find(request.query.get('session') ?? '');
  if (session === undefined || session.isExpired) return oapiError('oapi.300001.session');
  const content = readContent(s, request);
  if ('refusal' in content) return content.refusal;
  const { robotCode, conversationId, staffId } = session.value;
  if (findAppOfRobot(s.world, robotCode) === undefined) return oapiError('oapi.400101');
  const from = { kind: 'robot' as const, id: robotCode };
  s.chat.add({ at: s.now(), conversationId, ...(staffId && { staffId }), from, via: 'sessionWebhook', ...content });
  return ok(oapiOk, { robot: robotCode, conversationId, ...(staffId && { staffIds: [staffId] }), text: content.text });
}

type Content = Exclude<ReturnType<typeof readWebhookBody>, { refused: string }>;

function readContent(s: Simulation, request: ApiRequest): Content | { refusal: Reply } {
  if (!(request.header('content-type') ?? '').toLowerCase().startsWith('application/json')) {
    return { refusal: oapiError('oapi.43004') };
  }
  if (request.bytes > s.faults.webhookMaxBytes) return { refusal: oapiError('oapi.460101') };
  if (!request.isJson) return { refusal: oapiError('oapi.40035.json') };
  const content = readWebhookBody(request.body);
  if (!('refused' in content)) return content;
  return { refusal: oapiError(content.refused === 'type' ? 'oapi.400105' : 'oapi.40035.json') };
}

function findSecurityRefusal(
  s: Simulation,
  robot: SimulatorCustomRobot,
  request: ApiRequest,
  text: string,
): Reply | undefined {
  if (robot.keywords && !robot.keywords.some((word) => text.includes(word))) return oapiError('oapi.310000.keywords');
  if (robot.secret !== undefined) {
    const timestamp = request.query.get('timestamp') ?? '';
    if (!(Math.abs(s.now() - Number(timestamp || NaN)) <= s.faults.clockToleranceMs))
      return oapiError('oapi.310000.timestamp');
    if (request.query.get('sign') !== buildSign(timestamp, robot.secret)) return oapiError('oapi.310000.sign');
  }
  const ip = s.faults.callerIp ?? request.remoteIp;
  return robot.ips && !isListed(robot.ips, ip) ? oapiIpRefused(ip) : undefined;
}

function isListed(ips: readonly string[], ip: string): boolean {
  const list = new BlockList();
  for (const entry of ips) {
    const [address = '', bits] = entry.split('/');
    list.addSubnet(address, bits === undefined ? 32 : Number(bits), 'ipv4');
  }
  return list.check(ip, 'ipv4');
}

/** More than the allowed number in the window blocks the robot for the whole block time (reference section 6.1). */
function findRateRefusal(s: Simulation, accessToken: string): Reply | undefined {
  const { faults, limits } = s;
  const key = `custom robot ${accessToken}`;
  const refusal = oapiError(`oapi.${faults.customRobotOverCode}`);
  if (limits.isBlocked(key)) return refusal;
  if (limits.take(key, faults.customRobotSends, s.scaled(faults.customRobotWindowMs))) return undefined;
  limits.block(key, s.scaled(faults.customRobotBlockMs));
  return refusal;
}

/** Each read forgets what the read before returned (reference section 3.4). */
function readFailedEvents(s: Simulation, request: ApiRequest): Reply {
  const owner = requireLegacyApp(s, request);
  if ('refusal' in owner) return owner.refusal;
  s.failedEvents.rows.splice(0, s.failedEvents.returned);
  const failed = s.failedEvents.rows.slice(0, FAILED_EVENTS_PER_READ);
  s.failedEvents.returned = failed.length;
  return ok({ ...oapiOk, has_more: s.failedEvents.rows.length > failed.length, failed_list: failed });
}
