import type { CardRecord, CardSpaceRecord, CardVersion } from './records.ts';
import { isObject, objectOf } from './reply.ts';
import type { Simulation } from './simulation.ts';

type Params = Record<string, string>;
/** What a call changes on a card. By key: what is not named stays; otherwise it is wiped (reference section 7.2). */
export type CardChange = {
  params?: Params;
  privateParams?: Record<string, Params>;
  byKey: boolean;
  privateByKey: boolean;
};

const KEPT_CARDS = 100_000;
const KEPT_VERSIONS = 1_000;

/** Keeps a new card, and forgets the oldest beyond the limit. */
export function addCard(s: Simulation, card: Omit<CardRecord, 'versions' | 'spaces'>): CardRecord {
  const added: CardRecord = { ...card, spaces: [], versions: [] };
  s.cards.set(card.outTrackId, added);
  const oldest = s.cards.size > KEPT_CARDS ? s.cards.keys().next().value : undefined;
  if (oldest !== undefined) s.cards.delete(oldest);
  addVersion(s, added, 'created');
  return added;
}

/** Applies a change and keeps the version. */
export function changeCard(s: Simulation, card: CardRecord, change: CardChange, cause: CardVersion['cause']): void {
  const { params, privateParams, byKey, privateByKey } = change;
  if (params !== undefined) card.params = byKey ? { ...card.params, ...params } : params;
  for (const [staffId, values] of Object.entries(s.faults.cardPrivateData ? (privateParams ?? {}) : {}))
    card.privateParams[staffId] = privateByKey ? { ...card.privateParams[staffId], ...values } : values;
  addVersion(s, card, cause);
}

function addVersion(s: Simulation, card: CardRecord, cause: CardVersion['cause']): void {
  const { outTrackId, params, privateParams } = structuredClone(card);
  card.versions.push(s.cardVersions.add({ at: s.now(), outTrackId, cause, params, privateParams }));
  if (card.versions.length > KEPT_VERSIONS) card.versions.shift();
}

/** The place where this person sees the card, or undefined. */
export function findSpaceOf(card: CardRecord, staffId: string): CardSpaceRecord | undefined {
  return card.spaces.find(({ visibleTo }) => visibleTo.includes(staffId));
}

/**
 * The variables of a body: texts alone. The platform takes strings only (reference section 7.1); what else there is makes
 * the whole refused (undefined) or is left out, as switched.
 */
export function readParams(s: Simulation, value: unknown): Params | undefined {
  const entries = Object.entries(objectOf(objectOf(value).cardParamMap));
  const texts = entries.flatMap(([name, text]): [string, string][] => (typeof text === 'string' ? [[name, text]] : []));
  return texts.length < entries.length && s.faults.cardParams === 'reject' ? undefined : Object.fromEntries(texts);
}

/** The variables for single people, by staffId. */
export function readPrivateParams(s: Simulation, value: unknown): Record<string, Params> | undefined {
  const rows = Object.entries(objectOf(value)).map(([id, data]) => [id, readParams(s, data)] as const);
  const known = rows.flatMap(([id, params]): [string, Params][] => (params === undefined ? [] : [[id, params]]));
  return known.length < rows.length ? undefined : Object.fromEntries(known);
}

/** Lays what the receiver of a click answered over the card (reference section 7.5); over Stream it is wrapped. */
export function applyAnswer(s: Simulation, card: CardRecord, staffId: string, answer: unknown): void {
  const response = objectOf(objectOf(answer).response ?? answer);
  const options = objectOf(response.cardUpdateOptions);
  const params = isObject(response.cardData) ? readParams(s, response.cardData) : undefined;
  const own = isObject(response.userPrivateData) ? readParams(s, response.userPrivateData) : undefined;
  if (params === undefined && own === undefined) return;
  const change: CardChange = {
    ...(params && { params }),
    ...(own && { privateParams: { [staffId]: own } }),
    byKey: isByKey(s, options.updateCardDataByKey),
    privateByKey: isByKey(s, options.updatePrivateDataByKey),
  };
  changeCard(s, card, change, 'answer');
}

export function isByKey(s: Simulation, option: unknown): boolean {
  return option === true || (option === undefined && s.faults.cardUpdateDefault === 'byKey');
}
