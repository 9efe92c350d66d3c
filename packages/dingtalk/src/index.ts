export {
  buildCustomRobotUrl,
  signCardCallback,
  signCustomRobot,
  signRobotCallback,
  signatureToleranceMs,
  verifyCardSignature,
  verifyRobotSignature,
} from './signatures.ts';
export type { SignatureVerdict } from './signatures.ts';
export { decryptEvent, encryptEvent, readEventQuery, signEvent } from './event-crypto.ts';
export type { EventKeys, SealedEvent } from './event-crypto.ts';
export { parsePlatformEvent } from './platform-event.ts';
export type { PlatformEventView } from './platform-event.ts';
export { readPersonChange } from './person-change.ts';
export type { PersonChange } from './person-change.ts';
export { parseRobotMessage } from './robot-message.ts';
export type { ParsedRobotMessage, RobotMessageView } from './robot-message.ts';
export type { RobotMessageContent } from './read-content.ts';
export { buildCardResponse, parseCardCallback } from './card-callback.ts';
export type { CardCallbackView, CardResponse, ParsedCardCallback } from './card-callback.ts';
export { checkSessionWebhook } from './check-session-webhook.ts';
export type { SessionWebhookRule, SessionWebhookVerdict } from './check-session-webhook.ts';
export { classifyResponse } from './classify-response.ts';
export type { SendDoor } from './classify-response.ts';
export type { OutcomeScope, SendAccepted, SendOutcome, SendRefused } from './send-outcome.ts';
export {
  msgParamLimitBytes,
  renderOpenApiContent,
  renderWebhookBody,
  splitContent,
  webhookBodyLimitBytes,
} from './render-content.ts';
export type { Mentions, OutgoingContent } from './render-content.ts';
export { splitText } from './split-text.ts';
export { createTokenSource } from './token-source.ts';
export type { TokenSource } from './token-source.ts';
export { createApiClient } from './api-client.ts';
export type { ApiClient } from './api-client.ts';
export type { RobotApp } from './app-call.ts';
export type { CardCallbackRoute, CardSpace } from './card-calls.ts';
export type { PersonLookup } from './person-calls.ts';
export type { StreamPush, StreamReceivers } from './push-desk.ts';
export type { StreamLimits } from './stream-socket.ts';
export type { StreamTimers } from './stream-timers.ts';
export { createStreamClient } from './stream-client.ts';
export type { StreamClient, StreamClientOptions, StreamStatus } from './stream-client.ts';
