import { apiError } from './api-errors.ts';
import { createGuard } from './api-guard.ts';
import { ok, textField } from './reply.ts';
import type { ApiRoute, Reply } from './reply.ts';
import { findRobotRefusal } from './robot-api.ts';
import type { Simulation } from './simulation.ts';

type Body = Record<string, unknown>;
const MAX_KEYS = 20;

/** Taking back what a robot said, within 24 hours (reference section 5.3). Note `oto` here and `oTo` in sending. */
export function createRecallRoutes(simulation: Simulation): Record<string, ApiRoute> {
  const guarded = createGuard(simulation);
  return {
    'POST /v1.0/robot/otoMessages/batchRecall': guarded(({ body }, appKey) => recall(simulation, body, appKey)),
    'POST /v1.0/robot/groupMessages/recall': guarded(({ body }, appKey) =>
      textField(body, 'openConversationId') === ''
        ? apiError('miss.openConversationId')
        : recall(simulation, body, appKey),
    ),
  };
}

/** Each key by itself: what is unknown, too old or said elsewhere is listed as failed, inside a 200. */
function recall(s: Simulation, body: Body, appKey: string): Reply {
  const refused = findRobotRefusal(s, body, appKey);
  if (refused) return apiError(refused);
  const keys = Array.isArray(body.processQueryKeys) ? body.processQueryKeys.map(String) : [];
  if (keys.length === 0) return apiError('miss.param.processQueryKey');
  if (keys.length > MAX_KEYS) return apiError('receivers.exceed');
  const taken = keys.filter((key) => takeBack(s, key, body));
  const failedResult = Object.fromEntries(keys.filter((key) => !taken.includes(key)).map((key) => [key, '%s']));
  return ok({ successResult: taken, failedResult });
}

function takeBack(s: Simulation, key: string, body: Body): boolean {
  const sent = s.sentKeys.find(key);
  const conversationId = body.openConversationId === undefined ? undefined : textField(body, 'openConversationId');
  const isTheirs = sent?.value.robotCode === body.robotCode && sent?.value.conversationId === conversationId;
  if (sent === undefined || sent.isExpired || !isTheirs || s.faults.recallFails) return false;
  sent.value.recalled = true;
  for (const line of s.chat.list())
    if (line.processQueryKey === key && line.recalledAt === undefined) line.recalledAt = s.now();
  s.chat.touch();
  return true;
}
