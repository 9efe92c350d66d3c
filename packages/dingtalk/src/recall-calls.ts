import type { AppCall, RobotApp } from './app-call.ts';
import type { SendOutcome } from './send-outcome.ts';

export type RecallCalls = {
  /** Takes back what this robot said in a group within 24 h, by its handles; accepted means every one. Leaves no trace. */
  recallGroup(o: { app: RobotApp; conversationId: string; processQueryKeys: readonly string[] }): Promise<SendOutcome>;
  /** The same for single chats. */
  recallUsers(o: { app: RobotApp; processQueryKeys: readonly string[] }): Promise<SendOutcome>;
};

/** Official docs, "recall": at most 20 handles a call, for 24 hours. */
const maxKeys = 20;
/** More handles than any of our messages has parts. */
const maxKeysInAll = 100;

/** Recall of api.dingtalk.com. Repeating is harmless to readers: what is gone stays gone. */
export function createRecallCalls(o: { apiUrl: string; callAsApp: AppCall; deadlineMs: number }): RecallCalls {
  const recall = async (app: RobotApp, path: string, keys: readonly string[], fields: Record<string, string>) => {
    if (keys.length === 0 || keys.length > maxKeysInAll) return wrongCount();
    const signal = AbortSignal.timeout(o.deadlineMs);
    let outcome: SendOutcome = { kind: 'accepted', invalidStaffIds: [], flowControlledStaffIds: [] };
    for (let at = 0; at < keys.length && outcome.kind === 'accepted'; at += maxKeys) {
      const body = { robotCode: app.robotCode, ...fields, processQueryKeys: keys.slice(at, at + maxKeys) };
      outcome = (await o.callAsApp(app, { door: 'recall', url: `${o.apiUrl}${path}`, body, signal })).outcome;
    }
    return outcome;
  };
  return {
    recallGroup: ({ app, conversationId, processQueryKeys }) =>
      recall(app, '/v1.0/robot/groupMessages/recall', processQueryKeys, { openConversationId: conversationId }),
    // This one is spelt `oto`, where sending is `oTo`.
    recallUsers: ({ app, processQueryKeys }) =>
      recall(app, '/v1.0/robot/otoMessages/batchRecall', processQueryKeys, {}),
  };
}

function wrongCount(): SendOutcome {
  return { kind: 'invalid', code: 'KEY_COUNT', text: `1 to ${maxKeysInAll} handles at a time`, scope: 'content' };
}
