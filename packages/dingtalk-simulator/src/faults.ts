import { z } from 'zod';
import { apiFixtureNames } from './api-errors.ts';
import { oapiFixtureNames } from './oapi-errors.ts';
import { variantNames } from './payload-variants.ts';

// The longest delay a timer of the runtime can hold is a little under 25 days.
const ms = z.int().min(0).max(2_000_000_000);
const rate = z.number().min(0).max(1);
const count = z.int().min(0).max(10_000_000);
const limit = count.nullable();
const path = z.string().startsWith('/').or(z.literal('*'));
const delays = z.record(path, ms);
const times = z.int().min(1).max(1_000_000);
const fixtureNames = [...apiFixtureNames, ...oapiFixtureNames] as const;
const signature = z.enum(['good', 'bad', 'old', 'missing', 'replayed']);

/** Every switch of the simulator. Times are milliseconds; `null` as a limit means no limit. */
export const faultsSchema = z.strictObject({
  seed: z.int().min(0),
  timeScale: z.number().positive().max(1),
  latencyMs: delays,
  replyDelayMs: delays,
  failNext: z.array(z.strictObject({ path, reply: z.enum(fixtureNames), times })),
  loseResponses: z.array(z.strictObject({ path, mode: z.enum(['504', 'reset', 'hang']), times })),
  tokenTtlMs: ms,
  ticketTtlMs: ms,
  streamRouting: z.enum(['random', 'oldest']),
  streamRedelivery: z.enum(['once', 'never']),
  streamAckTimeoutMs: ms,
  duplicateRate: rate,
  duplicateDelayMs: ms,
  dropRate: rate,
  reorderRate: rate,
  reorderHoldMs: ms,
  pingIntervalMs: ms,
  disconnectAfterMs: z.tuple([ms, ms]).nullable(),
  disconnectMode: z.enum(['planned', 'zombie', 'abrupt']),
  disconnectCloseMs: ms,
  streamEventAckMs: ms,
  streamEventRetryMs: z.array(ms).max(10),
  httpEventRetryMs: z.array(ms).max(10),
  robotRetryMs: z.array(ms).max(10),
  cardRetryMs: z.array(ms).max(10),
  robotPushTimeoutMs: ms,
  eventPushTimeoutMs: ms,
  cardPushTimeoutMs: ms,
  sessionTtlMs: ms,
  customRobotSends: limit,
  customRobotWindowMs: ms,
  customRobotBlockMs: ms,
  customRobotOverCode: z.enum(['130101', '410100']),
  webhookMaxBytes: count,
  clockToleranceMs: ms,
  callerIp: z.ipv4().nullable(),
  qpsLimit: limit,
  qpsWindowMs: ms,
  monthlyApiCalls: limit,
  monthlyPushes: limit,
  ipBan: z.enum(['off', 'json', 'html']),
  ipBanStatus: z.int().min(200).max(599),
  ipCallLimit: limit,
  ipWindowMs: ms,
  ipBanMs: ms,
  batchMaxUsers: count,
  msgParamMaxBytes: count,
  flowControlledStaffIds: z.array(z.string()),
  messagesRead: z.boolean(),
  payloadVariants: z.array(z.enum(variantNames)),
  robotSignature: signature,
  cardSignature: signature,
  eventCrypto: z.enum(['good', 'wrongOwner', 'wrongPad', 'badSignature']),
  eventParamSpelling: z.enum(['msg_signature', 'signature']),
  cardUpdateDefault: z.enum(['overwrite', 'byKey']),
  cardRepeat: z.enum(['refused', 'accepted']),
  cardRedelivery: z.enum(['shown', 'ignored']),
  cardDeliveryFails: z.array(z.string()),
  cardPrivateData: z.boolean(),
  cardParams: z.enum(['reject', 'drop']),
  recallFails: z.boolean(),
  directoryShape: z.enum(['plain', 'sample']),
  systemsFaults: z.array(z.strictObject({ path, mode: z.enum(['500', 'redirect', 'huge']), times })),
  systemsRedirectTo: z.url(),
  systemsHugeBytes: z.int().min(0).max(100_000_000),
  systemsIdempotency: z.boolean(),
});

export type Faults = z.infer<typeof faultsSchema>;

/** Some switches, to be laid over the ones in force. An unknown key is refused. */
export const faultsPatchSchema = faultsSchema.partial();
export type FaultsPatch = z.infer<typeof faultsPatchSchema>;

const defaultFaults: Faults = {
  seed: 1,
  timeScale: 1,
  latencyMs: {},
  replyDelayMs: {},
  failNext: [],
  loseResponses: [],
  tokenTtlMs: 7_200_000,
  ticketTtlMs: 90_000,
  streamRouting: 'random',
  streamRedelivery: 'once',
  streamAckTimeoutMs: 60_000,
  duplicateRate: 0,
  duplicateDelayMs: 1_000,
  dropRate: 0,
  reorderRate: 0,
  reorderHoldMs: 2_000,
  pingIntervalMs: 25_000,
  disconnectAfterMs: null,
  disconnectMode: 'planned',
  disconnectCloseMs: 10_000,
  streamEventAckMs: 3_000,
  streamEventRetryMs: [10_000, 30_000, 60_000, 120_000],
  httpEventRetryMs: [10_000, 30_000],
  // No source documents the robot schedule: that of encrypted events is taken. A late card click is not repeated.
  robotRetryMs: [10_000, 30_000],
  cardRetryMs: [],
  robotPushTimeoutMs: 2_500,
  eventPushTimeoutMs: 2_500,
  cardPushTimeoutMs: 2_000,
  sessionTtlMs: 5_400_000,
  customRobotSends: 20,
  customRobotWindowMs: 60_000,
  customRobotBlockMs: 600_000,
  customRobotOverCode: '130101',
  webhookMaxBytes: 20_000,
  clockToleranceMs: 3_600_000,
  callerIp: null,
  qpsLimit: 20,
  qpsWindowMs: 1_000,
  monthlyApiCalls: null,
  monthlyPushes: null,
  ipBan: 'off',
  ipBanStatus: 200,
  ipCallLimit: 10_000,
  ipWindowMs: 20_000,
  ipBanMs: 300_000,
  batchMaxUsers: 20,
  msgParamMaxBytes: 15_000,
  flowControlledStaffIds: [],
  messagesRead: false,
  payloadVariants: [],
  robotSignature: 'good',
  cardSignature: 'good',
  eventCrypto: 'good',
  eventParamSpelling: 'msg_signature',
  cardUpdateDefault: 'overwrite',
  cardRepeat: 'refused',
  cardRedelivery: 'shown',
  cardDeliveryFails: [],
  cardPrivateData: true,
  cardParams: 'reject',
  recallFails: false,
  directoryShape: 'plain',
  systemsFaults: [],
  systemsRedirectTo: 'http://elsewhere.invalid/systems',
  systemsHugeBytes: 5_000_000,
  systemsIdempotency: true,
};

/**
 * A well-behaved DingTalk: the limits and times of the reference, nothing random but the choice of a connection,
 * and that choice follows the seed.
 */
export function buildDefaultFaults(): Faults {
  return structuredClone(defaultFaults);
}
