import { apiError } from './api-errors.ts';
import type { ApiErrorCode } from './api-errors.ts';
import { createGuard } from './api-guard.ts';
import { addCard, changeCard, isByKey, readParams, readPrivateParams } from './card-store.ts';
import { deliverCard } from './card-spaces.ts';
import type { CardRecord } from './records.ts';
import { isObject, objectOf, ok, textField } from './reply.ts';
import type { ApiRoute, Reply } from './reply.ts';
import type { Simulation } from './simulation.ts';

type Body = Record<string, unknown>;
/** Section 6.2: one page says 64, another 100. */
const MAX_OUT_TRACK_ID = 64;

/** The interactive cards of api.dingtalk.com (reference sections 7.1, 7.2, 7.4). Streaming is not simulated. */
export function createCardRoutes(simulation: Simulation): Record<string, ApiRoute> {
  const guarded = createGuard(simulation);
  return {
    'POST /v1.0/card/instances': guarded(({ body }, appKey) => createOnly(simulation, body, appKey)),
    'POST /v1.0/card/instances/deliver': guarded(({ body }, appKey) => deliverOnly(simulation, body, appKey)),
    'POST /v1.0/card/instances/createAndDeliver': guarded(({ body }, appKey) => createBoth(simulation, body, appKey)),
    'PUT /v1.0/card/instances': guarded(({ body }, appKey) => update(simulation, body, appKey)),
    'POST /v1.0/card/callbacks/register': guarded(({ body }, appKey) => register(simulation, body, appKey)),
  };
}

function createOnly(s: Simulation, body: Body, appKey: string): Reply {
  const created = create(s, body, appKey);
  return 'refused' in created ? apiError(created.refused) : ok({ success: true, result: created.card.outTrackId });
}

function createBoth(s: Simulation, body: Body, appKey: string): Reply {
  // What is wrong with the delivery is found before anything is created.
  const problem = deliverCard(s, body, appKey, null);
  if ('refused' in problem) return apiError(problem.refused);
  const created = create(s, body, appKey);
  if ('refused' in created) return apiError(created.refused);
  const { outTrackId } = created.card;
  if (created.isKnown) return ok({ success: true, result: { outTrackId, deliverResults: problem.results } });
  return toReply(s, body, appKey, created.card, (deliverResults) => ({ outTrackId, deliverResults }));
}

function deliverOnly(s: Simulation, body: Body, appKey: string): Reply {
  const card = findOwn(s, body, appKey);
  return card === undefined ? apiError('param.cardNotExist') : toReply(s, body, appKey, card, (results) => results);
}

function toReply(
  s: Simulation,
  body: Body,
  appKey: string,
  card: CardRecord,
  shape: (results: unknown[]) => unknown,
): Reply {
  const delivered = deliverCard(s, body, appKey, card);
  if ('refused' in delivered) return apiError(delivered.refused);
  const { results, sent } = delivered;
  return ok({ success: true, result: shape(results) }, sent);
}

type Created = { card: CardRecord; isKnown: boolean } | { refused: ApiErrorCode };

function create(s: Simulation, body: Body, appKey: string): Created {
  const outTrackId = textField(body, 'outTrackId');
  const templateId = textField(body, 'cardTemplateId');
  if (outTrackId === '') return { refused: 'param.outTrackIdEmpty' };
  if (outTrackId.length > MAX_OUT_TRACK_ID) return { refused: 'outTrackId.outOfLimit' };
  if (templateId === '') return { refused: 'param.cardTemplateIdEmpty' };
  if (s.world.cardTemplates?.includes(templateId) === false) return { refused: 'param.templateNotExist' };
  const known = s.cards.get(outTrackId);
  // Reusing the id with new data or template has no effect either way.
  if (known && s.faults.cardRepeat === 'refused') return { refused: 'param.cardAlreadyExist' };
  if (known) return { card: known, isKnown: true };
  const params = readParams(s, body.cardData);
  const privateParams = readPrivateParams(s, body.privateData);
  if (params === undefined || privateParams === undefined) return { refused: 'param.cardParamInvalid' };
  const card = addCard(s, {
    ...{ outTrackId, appKey, templateId, params },
    privateParams: s.faults.cardPrivateData ? privateParams : {},
    // Absent means that no click ever comes back (section 7.1).
    callbackType: textField(body, 'callbackType'),
    callbackRouteKey: textField(body, 'callbackRouteKey'),
    supportForward: [body.imGroupOpenSpaceModel, body.imRobotOpenSpaceModel].some(
      (model) => objectOf(model).supportForward === true,
    ),
  });
  return { card, isKnown: false };
}

function update(s: Simulation, body: Body, appKey: string): Reply {
  const card = findOwn(s, body, appKey);
  if (card === undefined) return apiError('param.cardNotExist');
  const options = objectOf(body.cardUpdateOptions);
  const params = isObject(body.cardData) ? readParams(s, body.cardData) : {};
  const privateParams = readPrivateParams(s, body.privateData);
  if (params === undefined || privateParams === undefined) return apiError('param.cardParamInvalid');
  const change = {
    ...(isObject(body.cardData) && { params }),
    privateParams,
    byKey: isByKey(s, options.updateCardDataByKey),
    privateByKey: isByKey(s, options.updatePrivateDataByKey),
  };
  changeCard(s, card, change, 'updated');
  return ok({ success: true, result: true });
}

/** A card belongs to the app that created it. */
function findOwn(s: Simulation, body: Body, appKey: string): CardRecord | undefined {
  const card = s.cards.get(textField(body, 'outTrackId'));
  return card?.appKey === appKey ? card : undefined;
}

function register(s: Simulation, body: Body, appKey: string): Reply {
  const [routeKey, url, secret] = [textField(body, 'callbackRouteKey'), textField(body, 'callbackUrl'), body.apiSecret];
  if (routeKey === '' || !URL.canParse(url)) return apiError('param.cardParamInvalid');
  const key = `${appKey} ${routeKey}`;
  if (!s.cardRoutes.has(key) || body.forceUpdate === true)
    s.cardRoutes.set(key, { url, ...(typeof secret === 'string' && secret !== '' && { secret }) });
  return ok({ success: true, result: { callbackUrl: url, ...(typeof secret === 'string' && { apiSecret: secret }) } });
}
