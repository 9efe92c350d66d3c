import { createHash } from 'node:crypto';
import { newId } from '@steward/service-kit';
import { buildCardResponse, parseCardCallback, type CardResponse } from '@steward/dingtalk';
import { fitsParams, type CardClicked } from '@steward/contracts';
import { refuse } from './door-refusal.ts';
import type { Door, ReceiveContext } from './receive-robot-message.ts';
import type { Robot } from './robots.ts';

/** The card's variable for the clicker's note. A template without it shows none, and nothing else changes. */
const noteVariable = 'note';

/**
 * Takes a click on a card, and resolves when it is committed with what the clicker is answered: a note, seen by nobody else,
 * that it was received. The adapter decides nothing: the outcome reaches the card later, by an update.
 */
export async function receiveCardClick(
  context: ReceiveContext,
  robot: Robot,
  payload: unknown,
  door: Door,
): Promise<CardResponse> {
  const parsed = parseCardCallback(payload);
  if (!parsed.ok) throw refuse('BODY_MALFORMED', new Error(parsed.faults));
  const { hadInvalidText: _, ...click } = parsed.view;
  if (!fitsParams(click.params)) throw refuse('BODY_TOO_LARGE');
  const inboundEventId = newId();
  const message: CardClicked = {
    type: 'card.clicked.v1',
    id: newId(),
    correlationId: door.correlationId,
    causationId: inboundEventId,
    occurredAt: context.now().toISOString(),
    body: { ...click, inboundEventId, app: robot.appKey, environment: robot.environment, door: door.door },
  };
  await context.recorder.record({
    id: inboundEventId,
    kind: 'card_click',
    source: robot.appKey,
    sourceId: null,
    conversationId: null,
    ...door,
    bodyHashHex: createHash('sha256').update(JSON.stringify(click)).digest('hex'),
    environment: robot.environment,
    staffId: click.staffId,
    corpId: click.corpId,
    message,
  });
  const now = context.now();
  context.log.info('card.clicked', { correlationId: door.correlationId, robot: robot.name, door: door.door });
  // Never a variable that updates set too: what one person is shown in private would hide it from them.
  return buildCardResponse({ clicker: { [noteVariable]: context.clickNote(now) } });
}
