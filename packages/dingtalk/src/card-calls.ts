import type { AppCall, RobotApp } from './app-call.ts';
import type { SendOutcome } from './send-outcome.ts';

/** Where a card stands: a group, or the single chat of a person with the robot. */
export type CardSpace = { kind: 'group'; conversationId: string } | { kind: 'person'; staffId: string };
/** How its clicks come: chosen for each card, not by a switch of the console (developerpedia, "cards"). */
export type CardCallbackRoute = { kind: 'stream' } | { kind: 'http'; routeKey: string };

export type CardCalls = {
  /**
   * Creates an interactive card and delivers it into one space. `outTrackId` (ours, at most 64 characters) is the card for
   * life and makes repeating harmless: where an earlier call created it, only the delivery is made again. Accepted means
   * delivered; its processQueryKey recalls it.
   */
  createAndDeliverCard(o: {
    app: RobotApp;
    outTrackId: string;
    templateId: string;
    params: Readonly<Record<string, string>>;
    /** What the list of chats and the notification show. */
    lastText: string;
    space: CardSpace;
    callback: CardCallbackRoute;
  }): Promise<SendOutcome>;
  /** New values for some variables of a card; the others stay. The last call wins: one at a time for each card. */
  updateCard(o: { app: RobotApp; outTrackId: string; params: Readonly<Record<string, string>> }): Promise<SendOutcome>;
  /** Says where the clicks of cards with this route key go, and with which secret they are signed. Harmless to repeat. */
  registerCardCallback(o: { app: RobotApp; routeKey: string; url: string; apiSecret: string }): Promise<SendOutcome>;
};

/** The card API of api.dingtalk.com. Official docs, "create and deliver cards", "update a card", "register card callback". */
export function createCardCalls({ apiUrl, callAsApp }: { apiUrl: string; callAsApp: AppCall }): CardCalls {
  const cards = `${apiUrl}/v1.0/card`;
  return {
    createAndDeliverCard: async ({ app, outTrackId, templateId, params, lastText, space, callback }) => {
      if (!isOneSpace(space)) return refusedSpace();
      const delivery = { outTrackId, userIdType: 1, ...toSpace(app, space, lastText) };
      const body = {
        ...delivery,
        cardTemplateId: templateId,
        callbackType: callback.kind === 'stream' ? 'STREAM' : 'HTTP',
        ...(callback.kind === 'http' && { callbackRouteKey: callback.routeKey }),
        cardData: { cardParamMap: params },
      };
      const url = `${cards}/instances/createAndDeliver`;
      const { outcome } = await callAsApp(app, { door: 'card', url, body });
      if (outcome.kind === 'accepted' || outcome.code !== 'param.cardAlreadyExist') return outcome;
      // An earlier call created it, and nobody knows whether it also arrived: the same card twice is better than none.
      return (await callAsApp(app, { door: 'card', url: `${cards}/instances/deliver`, body: delivery })).outcome;
    },
    updateCard: async ({ app, outTrackId, params }) => {
      const body = {
        outTrackId,
        userIdType: 1,
        cardData: { cardParamMap: params },
        // Without these the platform wipes every variable that is not named.
        cardUpdateOptions: { updateCardDataByKey: true, updatePrivateDataByKey: true },
      };
      const url = `${cards}/instances`;
      return (await callAsApp(app, { door: 'card_update', method: 'PUT', url, body })).outcome;
    },
    registerCardCallback: async ({ app, routeKey, url, apiSecret }) => {
      const body = { callbackRouteKey: routeKey, callbackUrl: url, apiSecret, forceUpdate: true };
      return (await callAsApp(app, { door: 'card_update', url: `${cards}/callbacks/register`, body })).outcome;
    },
  };
}

/** Spaces are listed with `;` between them: an id with one in it would name a second place. */
function isOneSpace(space: CardSpace): boolean {
  const id = space.kind === 'group' ? space.conversationId : space.staffId;
  return id !== '' && !/[;\s]/.test(id);
}

function refusedSpace(): SendOutcome {
  return { kind: 'invalid', code: 'CARD_SPACE', text: 'this id cannot be the space of a card', scope: 'target' };
}

/** A forwarded card can be clicked by whoever gets it, so none may be forwarded. */
function toSpace({ robotCode }: RobotApp, space: CardSpace, lastText: string): Record<string, unknown> {
  const model = {
    supportForward: false,
    lastMessageI18n: { ZH_CN: lastText, EN_US: lastText },
    notification: { alertContent: lastText, notificationOff: false },
  };
  return space.kind === 'group'
    ? {
        openSpaceId: `dtv1.card//IM_GROUP.${space.conversationId}`,
        imGroupOpenSpaceModel: model,
        imGroupOpenDeliverModel: { robotCode },
      }
    : {
        openSpaceId: `dtv1.card//IM_ROBOT.${space.staffId}`,
        imRobotOpenSpaceModel: model,
        imRobotOpenDeliverModel: { spaceType: 'IM_ROBOT', robotCode },
      };
}
