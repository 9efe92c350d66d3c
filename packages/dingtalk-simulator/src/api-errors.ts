import { randomUUID } from 'node:crypto';
import type { Reply } from './reply.ts';

/**
 * The error answers of api.dingtalk.com. A comment names the row of the protocol reference. Where the reference gives
 * a code but no text, the text is the literal `%s` that the platform itself is known to send (section 6.4).
 */
const fixtures = {
  // Section 4, "Bad credentials".
  invalidClientIdOrSecret: { status: 400, text: '无效的clientId或者clientSecret' },
  // Section 4, "Expired/invalid token on new API".
  InvalidAuthentication: { status: 400, text: '不合法的access_token' },
  // Section 2.1, "Bad credentials" of connections/open.
  authFailed: { status: 401, text: '鉴权失败' },
  // Section 6.4, api.dingtalk.com, rows 400 of class T.
  'token.notExisted': { status: 400, text: '%s' },
  'invalidParameter.token.invalid': { status: 400, text: '%s' },
  // Section 6.4, rows 403; section 6.1 "per app per API", "per app per API per minute", "whole platform per API".
  'Forbidden.AccessDenied.QpsLimitForAppkeyAndApi': { status: 403, text: '%s' },
  'Forbidden.AccessDenied.QpmLimitForAppkeyAndApi': { status: 403, text: '%s' },
  'Forbidden.AccessDenied.QpsLimitForApi': { status: 403, text: '%s' },
  'Forbidden.AccessDenied.ApiCountLimitForOrg': { status: 403, text: '%s' },
  // Section 4, "Missing permission", "IP not allowed".
  'Forbidden.AccessDenied.AccessTokenPermissionDenied': { status: 403, text: '%s' },
  'Forbidden.AccessDenied.IpNotInWhiteList': { status: 403, text: '%s' },
  // Section 6.4, row 400 of class R.
  'send.too.fast': { status: 400, text: '%s' },
  'send.byToken.tooFast': { status: 400, text: '%s' },
  'too.many.people': { status: 400, text: '%s' },
  'too.many.group': { status: 400, text: '%s' },
  'qps.exceed.limit': { status: 400, text: '%s' },
  // Section 6.4, row 400 of class U.
  'unknown.send.result': { status: 400, text: '%s' },
  // Section 6.4, row 400 robot codes, class P (the spelling notExsit is the platform's).
  'invalidParameter.robotCode.auth': { status: 400, text: '%s' },
  'invalidParameter.robotCode.empty': { status: 400, text: '%s' },
  'invalidParameter.robotCode.notExsit': { status: 400, text: '%s' },
  'invalidParameter.robotCode.invalid': { status: 400, text: '%s' },
  'template.not.existed': { status: 400, text: '%s' },
  'template.stopped': { status: 400, text: '%s' },
  'bot.stopped': { status: 400, text: '%s' },
  'resource.not.found': { status: 400, text: '%s' },
  'resource.unavailable': { status: 400, text: '%s' },
  // Section 6.4, row 400 group, class P.
  'group.disbanded': { status: 400, text: '%s' },
  'invalid.openConversationId': { status: 400, text: '%s' },
  'miss.openConversationId': { status: 400, text: '%s' },
  'conversation.org.notMatch': { status: 400, text: '%s' },
  // Section 6.4, row 400 recipients, class V.
  'staffId.notExisted': { status: 400, text: '%s' },
  'invalidParameter.userIds.empty': { status: 400, text: '%s' },
  'invalidParameter.userIds.overMax': { status: 400, text: '%s' },
  // Section 6.4, row 400 content, class V; 6.2 "msgParam".
  'invalidParameter.msgKey.invalid': { status: 400, text: '%s' },
  'invalidParameter.msgParam.invalid': { status: 400, text: '%s' },
  'invalidParameter.msgParam.tooLong': { status: 400, text: '%s' },
  'invalidParameter.msg.unsupport': { status: 400, text: '%s' },
  'miss.param.processQueryKey': { status: 400, text: '%s' },
  // Section 6.4, row 400 session.
  'session.notExisted': { status: 400, text: '%s' },
  'session.expired': { status: 400, text: '%s' },
  // Section 6.4, row 400 content safety, class P.
  'contain.unsafe.url': { status: 400, text: '%s' },
  'contain.notAllowed.text': { status: 400, text: '%s' },
  // Section 6.4, last row 400, class P.
  'bot.forbidden.sendMessage': { status: 400, text: '%s' },
  'send.forbidden': { status: 400, text: '%s' },
  'chatbotId.notAllow.sendOTO': { status: 400, text: '%s' },
  'robot.oto.notExist': { status: 400, text: '%s' },
  unauthorized: { status: 400, text: '%s' },
  'auth.error': { status: 400, text: '%s' },
  'illegal.receivers': { status: 400, text: '%s' },
  'receivers.exceed': { status: 400, text: '%s' },
  // Section 7.1, "Errors 400 param.*"; section 7.2 for the last; section 6.2 for the length.
  'param.outTrackIdEmpty': { status: 400, text: '%s' },
  'param.openSpaceIdInvalid': { status: 400, text: '%s' },
  'param.openDeliverModelEmpty': { status: 400, text: '%s' },
  'param.cardTemplateIdEmpty': { status: 400, text: '%s' },
  'param.templateNotExist': { status: 400, text: '%s' },
  'param.templateUnpublished': { status: 400, text: '%s' },
  'param.cardAlreadyExist': { status: 400, text: '%s' },
  'param.userIdNotExist': { status: 400, text: '%s' },
  'param.contentUnsafe': { status: 400, text: '%s' },
  'param.cardNotExist': { status: 400, text: '%s' },
  'outTrackId.outOfLimit': { status: 400, text: '%s' },
  // No source names the codes of these two: a variable that is no text, a space model without supportForward.
  'param.cardParamInvalid': { status: 400, text: '%s' },
  'param.supportForwardEmpty': { status: 400, text: '%s' },
  // Section 6.4, row 500, class R.
  'system.error': { status: 500, text: '%s' },
  'system.busy': { status: 500, text: '%s' },
} as const satisfies Record<string, { status: number; text: string }>;

export type ApiErrorCode = keyof typeof fixtures;

/** Section 6.4, row "502 503 504": a gateway's page, not the API's JSON. */
const gatewayPages = { gateway502: 502, gateway503: 503, gateway504: 504 } as const;

// Object.keys widens to string[]; the table above is closed, so its keys are exactly these names.
const codes = Object.keys(fixtures) as ApiErrorCode[];
const pages = Object.keys(gatewayPages) as (keyof typeof gatewayPages)[];
export const apiFixtureNames = [...codes, ...pages];

/** The refusal `code` of api.dingtalk.com: HTTP status and `{code, message, requestid}` (section 0, Hosts). */
export function apiError(code: ApiErrorCode): Reply {
  const { status, text } = fixtures[code];
  return { status, body: { code, message: text, requestid: randomUUID().toUpperCase() }, outcome: code };
}

/** A named fixture of this table, or undefined when the name belongs to another table. */
export function findApiFixture(name: string): Reply | undefined {
  const code = codes.find((known) => known === name);
  if (code !== undefined) return apiError(code);
  const page = pages.find((known) => known === name);
  return page === undefined ? undefined : gatewayPage(gatewayPages[page]);
}

export function gatewayPage(status: number): Reply {
  return {
    status,
    body: `<html><body><h1>${status}</h1></body></html>`,
    contentType: 'text/html',
    outcome: `${status}`,
  };
}

/**
 * Section 6.1, "per egress IP, all APIs": an HTML page or this JSON, neither of them the API's error shape. The HTTP
 * status is not documented and therefore a switch.
 */
export function ipBanned(form: 'json' | 'html', status: number): Reply {
  const body = { status: 1111, wait: 5, source: 'x5', punish: 'deny', uuid: randomUUID() };
  return form === 'json'
    ? { status, body, outcome: 'ip-banned' }
    : { ...gatewayPage(status), body: '<html><body>punish</body></html>', outcome: 'ip-banned' };
}
