import type { CatalogueRow } from './catalogue-row.ts';

/** Codes of the card API, HTTP 400 and `{code, message, requestid}`. Official docs, "create and deliver cards", "update a card". */
export const cardRows: readonly CatalogueRow[] = [
  {
    name: 'card exists',
    codes: ['param.cardAlreadyExist'],
    kind: 'permanent',
    scope: 'content',
    text: 'a card of this outTrackId exists already',
  },
  {
    name: 'card template',
    codes: ['param.templateNotExist', 'param.templateUnpublished', 'param.cardTemplateIdEmpty'],
    kind: 'permanent',
    scope: 'content',
    text: 'the card template does not exist or is not published: see docs/cards.md',
  },
  {
    name: 'card gone',
    codes: ['param.cardNotExist'],
    kind: 'permanent',
    scope: 'target',
    text: 'no card of this outTrackId exists',
  },
  {
    name: 'card space',
    codes: ['param.openSpaceIdInvalid', 'param.userIdNotExist'],
    kind: 'permanent',
    scope: 'target',
    text: 'the group or person that the card is for does not exist',
  },
  {
    name: 'unsafe card',
    codes: ['param.contentUnsafe'],
    kind: 'permanent',
    scope: 'content',
    text: 'DingTalk calls the content unsafe',
  },
  {
    name: 'card parameter',
    codes: ['param.*', 'outTrackId.*'],
    kind: 'invalid',
    scope: 'content',
    text: 'a parameter of the card is missing or wrong',
  },
];
