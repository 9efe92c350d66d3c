import type { z } from 'zod';
import { findSpaceOf } from './card-store.ts';
import { cardVersionsSchema, cardsSchema, effectsSchema } from './control-requests.ts';
import type { clickSchema } from './control-requests.ts';
import { ControlError, requireAnyApp } from './control-errors.ts';
import type { SimulatorControl } from './control.ts';
import type { CardRoute } from './http-push.ts';
import { readPage } from './record-log.ts';
import type { CardRecord } from './records.ts';
import { findAppByKey } from './simulation.ts';
import type { Simulation } from './simulation.ts';
import type { SimulatorApp } from './world.ts';

/** The verbs that show cards and what was done to the pretend company system. */
export function createCardVerbs(s: Simulation): Pick<SimulatorControl, 'cards' | 'cardVersions' | 'effects'> {
  return {
    cards: (o = {}) => {
      const { outTrackId, conversationId, staffId } = cardsSchema.parse(o);
      return [...s.cards.values()]
        .filter(
          (card) =>
            (outTrackId ?? card.outTrackId) === card.outTrackId &&
            (conversationId === undefined || card.spaces.some((space) => space.conversationId === conversationId)) &&
            (staffId === undefined || findSpaceOf(card, staffId) !== undefined),
        )
        .map((card) => structuredClone(card));
    },
    cardVersions: (o = {}) => {
      const { outTrackId, cause, ...page } = cardVersionsSchema.parse(o);
      return readPage(
        s.cardVersions,
        page,
        (row) => (outTrackId ?? row.outTrackId) === row.outTrackId && (cause ?? row.cause) === row.cause,
      );
    },
    effects: (o = {}) => {
      const { service, verb, ...page } = effectsSchema.parse(o);
      return readPage(
        s.effects,
        page,
        (row) => (service ?? row.service) === row.service && (verb ?? row.verb) === row.verb,
      );
    },
  };
}

type Clicked = { app: SimulatorApp; card?: CardRecord; spaceId?: string; route?: CardRoute };

/** The card that is pressed, with its app and the conversation that the clicker sees it in; a forged click needs none. */
export function findClicked(s: Simulation, click: z.output<typeof clickSchema>): Clicked {
  const card = s.cards.get(click.outTrackId);
  if (click.forged) {
    const app = click.robot === undefined && card ? findAppByKey(s.world, card.appKey) : findOnlyApp(s, click.robot);
    if (app === undefined) throw new ControlError('the app of this card is gone');
    return { app, ...(click.room !== undefined && { spaceId: click.room }) };
  }
  if (card === undefined) throw new ControlError(`no card ${click.outTrackId}; say forged to click all the same`);
  const app = findAppByKey(s.world, card.appKey);
  if (app === undefined) throw new ControlError('the app of this card is gone');
  if (click.robot !== undefined && requireAnyApp(s.world, click.robot).appKey !== app.appKey)
    throw new ControlError(`card ${click.outTrackId} is not one of ${click.robot}`);
  const seen = card.spaces.filter(({ visibleTo }) => visibleTo.includes(click.staffId));
  const space = seen.find(({ conversationId }) => (click.room ?? conversationId) === conversationId);
  if (space === undefined)
    throw new ControlError(
      `${click.staffId} does not see card ${click.outTrackId} there; say forged to click all the same`,
    );
  const route = s.cardRoutes.get(`${app.appKey} ${card.callbackRouteKey}`);
  return { app, card, spaceId: space.conversationId, ...(route && { route }) };
}

/** How clicks come back was chosen when the card was made. */
export const viaOf = (card: CardRecord): 'http' | 'stream' => (card.callbackType === 'HTTP' ? 'http' : 'stream');

function findOnlyApp(s: Simulation, robot: string | undefined): SimulatorApp {
  if (robot !== undefined) return requireAnyApp(s.world, robot);
  const [only, ...others] = s.world.apps;
  if (only === undefined || others.length > 0) throw new ControlError('say which robot the card belongs to');
  return only;
}
