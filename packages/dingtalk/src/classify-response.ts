import { z } from 'zod';
import { findRow } from './catalogue-row.ts';
import type { CatalogueRow } from './catalogue-row.ts';
import { legacyRows } from './legacy-errors.ts';
import { cardRows } from './card-errors.ts';
import { openApiRows } from './open-api-errors.ts';
import { readCardAnswer, readRecallAnswer, readUpdateAnswer, unreadable } from './read-card-answer.ts';
import type { SendOutcome, SendRefused } from './send-outcome.ts';

/**
 * By which door something was sent. Webhooks and look-ups prove success by errcode 0, a send by a processQueryKey, a card
 * by every one of its deliveries, a card's update and a registration by `success`, a recall by the lists of what it took back.
 */
export type SendDoor = 'session' | 'custom_robot' | 'open_api' | 'directory' | 'card' | 'card_update' | 'recall';

const code = z.union([z.string(), z.number().transform(String)]);
const legacySchema = z.object({ errcode: code, sub_code: code.nullish() });
const refusalSchema = z.object({ code });
const ids = z.array(code).nullish().catch(null);
const acceptedSchema = z.object({
  processQueryKey: z.string().nullish(),
  invalidStaffIdList: ids,
  flowControlledStaffIdList: ids,
});
/** What the anti-abuse gateway answers instead of the normal error body. */
const banSchema = z.object({ status: z.literal([1111, '1111']) });
const banMs = 300_000;

/**
 * What an answer means. `body` is the decoded JSON, or the raw text where it was none. Only codes decide: texts are
 * localised, and sometimes literally `%s`. An answer that proves neither success nor refusal is `unknown`. Pure.
 */
export function classifyResponse(o: { door: SendDoor; httpStatus: number; body: unknown }): SendOutcome {
  if (banSchema.safeParse(o.body).success) return banned('1111');
  const legacy = legacySchema.safeParse(o.body);
  if (legacy.success) return classifyLegacy(o.door, legacy.data.errcode, legacy.data.sub_code ?? '');
  const refusal = refusalSchema.safeParse(o.body);
  if (refusal.success) return classifyRefusal(o.httpStatus, refusal.data.code);
  if (o.httpStatus >= 200 && o.httpStatus < 300) return readSuccess(o.door, o.body);
  return classifyStatus(o.httpStatus);
}

/** An answer with a good status and no code in it: each door has its own proof. */
function readSuccess(door: SendDoor, body: unknown): SendOutcome {
  switch (door) {
    case 'open_api':
      return readAccepted(body);
    case 'card':
      return readCardAnswer(body);
    case 'card_update':
      return readUpdateAnswer(body);
    case 'recall':
      return readRecallAnswer(body);
    case 'session':
    case 'custom_robot':
    case 'directory':
      return unreadable('UNREADABLE_ANSWER');
    default:
      return door satisfies never;
  }
}

function classifyLegacy(door: SendDoor, errcode: string, subCode: string): SendOutcome {
  if (errcode === '0') return { kind: 'accepted', invalidStaffIds: [], flowControlledStaffIds: [] };
  // The same code means a dead reply address here and an unknown robot on the custom webhook.
  if (door === 'session' && errcode === '300001') return fromRow('300001', findRow(openApiRows, 'session.notExisted'));
  if (errcode !== '88') return fromRow(errcode, findRow(legacyRows, errcode));
  // 88 wraps another code; without one it is the gateway's own timeout.
  if (subCode === '') return fromRow('88', findRow(legacyRows, '15'));
  return fromRow(`88/${subCode}`, findRow(legacyRows, subCode));
}

function classifyRefusal(httpStatus: number, platformCode: string): SendRefused {
  const row = findRow(openApiRows, platformCode) ?? findRow(cardRows, platformCode);
  if (row) return fromRow(platformCode, row);
  // Any other 401 is about the token. A code we do not know is a refusal where the status says so.
  if (httpStatus === 401) return fromRow(platformCode, findRow(openApiRows, 'InvalidAuthentication'));
  return httpStatus >= 400 && httpStatus < 500 && httpStatus !== 429
    ? fromRow(platformCode, undefined)
    : { ...classifyStatus(httpStatus), code: toCode(platformCode) };
}

/** No body that we can read: the status alone. */
function classifyStatus(httpStatus: number): SendRefused {
  const httpCode = `HTTP_${httpStatus}`;
  if (httpStatus === 401) return fromRow(httpCode, findRow(openApiRows, 'InvalidAuthentication'));
  if (httpStatus === 429)
    return { kind: 'retryable', code: httpCode, text: 'too many calls', scope: 'app', retryAfterMs: 2_000 };
  if (httpStatus === 503)
    return {
      kind: 'retryable',
      code: httpCode,
      text: 'DingTalk is not available',
      scope: 'platform',
      retryAfterMs: 2_000,
    };
  if (httpStatus >= 300 && httpStatus < 400)
    return { kind: 'permanent', code: httpCode, text: 'a redirect is never followed' };
  // The address ban answers an HTML page. Whatever it was, a 4xx without the platform's own body sent nothing.
  if (httpStatus >= 400 && httpStatus < 500) return banned(httpCode);
  return unreadable(httpCode);
}

function readAccepted(body: unknown): SendOutcome {
  const parsed = acceptedSchema.safeParse(body);
  const invalidStaffIds = parsed.data?.invalidStaffIdList ?? [];
  const flowControlledStaffIds = parsed.data?.flowControlledStaffIdList ?? [];
  const processQueryKey = parsed.data?.processQueryKey ?? '';
  if (processQueryKey !== '') return { kind: 'accepted', processQueryKey, invalidStaffIds, flowControlledStaffIds };
  // Nobody was reached, and the platform says who: that is an answer too.
  if (invalidStaffIds.length + flowControlledStaffIds.length > 0)
    return { kind: 'accepted', invalidStaffIds, flowControlledStaffIds };
  return unreadable('UNREADABLE_ANSWER');
}

function fromRow(platformCode: string, row: CatalogueRow | undefined): SendRefused {
  const known = toCode(platformCode);
  if (!row) return { kind: 'permanent', code: known, text: 'refused with a code that is not in the catalogue' };
  const { kind, text, scope, retryAfterMs } = row;
  return { kind, code: known, text, ...(scope && { scope }), ...(retryAfterMs && { retryAfterMs }) };
}

function banned(platformCode: string): SendRefused {
  const text = 'the gateway refuses our egress address: too many calls from it, or a proxy in between';
  return { kind: 'retryable', code: platformCode, text, scope: 'egress', retryAfterMs: banMs };
}

/** A code comes from outside: only what codes are made of, and not much of it. */
function toCode(platformCode: string): string {
  return platformCode.replace(/[^\w./-]/g, '?').slice(0, 100);
}
