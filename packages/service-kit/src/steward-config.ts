import { z } from 'zod';
import { findConfigFaults } from './steward-config-faults.ts';
import { cardTemplateSchema, governanceConfigSchema, toolsConfigSchema } from './steward-config-governance.ts';
import { fairnessConfigSchema } from './steward-config-fairness.ts';
import { address, environment, host, name, platformId, secretFile } from './steward-config-parts.ts';

const timeZone = z.string().max(64).refine(isTimeZone, 'must be an IANA time zone such as Asia/Shanghai');

const robot = z.strictObject({
  code: platformId,
  name,
  environment,
  corpId: platformId,
  appKey: platformId,
  appSecretFile: secretFile,
  doors: z
    .array(z.enum(['http', 'stream']))
    .min(1)
    .max(2),
  sendsPerMinute: z.int().min(1).max(100_000).default(600),
  events: z.strictObject({ tokenFile: secretFile, aesKeyFile: secretFile, ownerKey: platformId }).optional(),
  cards: z
    .strictObject({
      callbackSecretFile: secretFile.optional(),
      /** Where the platform posts clicks of a robot without a Stream door: registered at start. */
      callbackUrl: address.optional(),
      approvals: cardTemplateSchema.optional(),
    })
    .refine((cards) => cards.callbackUrl === undefined || cards.callbackSecretFile !== undefined, {
      path: ['callbackSecretFile'],
      error: 'is needed with callbackUrl',
    })
    .optional(),
});

const customRobot = z.strictObject({
  name,
  environment,
  accessTokenFile: secretFile,
  secretFile: secretFile.optional(),
  /** The platform refuses the 21st in any minute (official docs, custom robot limits); two may go at once beyond the rate. */
  sendsPerMinute: z.int().min(1).max(18).default(18),
});

const room = z.strictObject({ id: platformId, name, robot: name, environment });

const person = z.strictObject({
  staffId: platformId,
  corpId: platformId,
  name: z.string().min(1).max(100),
  roles: z.array(name).max(50).default([]),
  /** Base64 of a raw Ed25519 public key: with its other half this person may approve at the command line. */
  operatorKey: z
    .string()
    .regex(/^[A-Za-z0-9+/]{43}=$/, 'must be base64 of 32 bytes, as `steward key new` prints it')
    .optional(),
});

const model = z.strictObject({
  baseUrl: address,
  name: z.string().min(1).max(200),
  /** Absent for a model that asks for no key. */
  apiKeyFile: secretFile.optional(),
  timeoutMs: z.int().min(1_000).max(300_000).default(30_000),
  maxSteps: z.int().min(1).max(20).default(4),
  transcriptTurns: z.int().min(0).max(200).default(20),
});

/** Of all replicas together, below what the platform allows (official docs: 20 calls a second, 10,000 calls in 20 s). */
const sendLimits = z.strictObject({
  apiCallsPerSecond: z.int().min(1).max(1_000).default(18),
  apiCallsPerMinute: z.int().min(1).max(60_000).default(1_000),
  roomSendsPerMinute: z.int().min(1).max(60_000).default(60),
  egressCallsPerSecond: z.int().min(1).max(490).default(400),
});

const dingtalk = z.strictObject({
  apiUrl: address.default('https://api.dingtalk.com'),
  oapiUrl: address.default('https://oapi.dingtalk.com'),
  sessionWebhookHosts: z.array(host).min(1).max(20).default(['oapi.dingtalk.com']),
  /** Active rooms are told when a robot could not be heard by Stream for longer than this. */
  linkNoticeAfterSeconds: z.int().min(1).max(86_400).default(15),
  limits: sendLimits.prefault({}),
  /** What an organisation's edition allows in a month; the standard one 5,000 (official docs). Absent: nothing is saved. */
  apiCallsPerMonth: z.int().min(1).max(1_000_000_000).optional(),
  /** The same for callbacks and Stream messages that reach its robots; the standard edition 3,000. Absent: nothing is watched. */
  messagesPerMonth: z.int().min(1).max(1_000_000).optional(),
});

/** Where those who run Steward are told what they must look at: at most one room for each environment. */
const operations = z.strictObject({ rooms: z.array(name).max(2).default([]) });

/** config/steward.yaml: the shape, the defaults, and what must agree between its parts. Unknown keys are faults. */
export const stewardConfigSchema = z
  .strictObject({
    timeZone: timeZone.default('Asia/Shanghai'),
    language: z.enum(['zh', 'en']).default('zh'),
    dingtalk: dingtalk.prefault({}),
    robots: z.array(robot).min(1).max(100),
    customRobots: z.array(customRobot).max(100).default([]),
    rooms: z.array(room).max(10_000).default([]),
    people: z.array(person).max(10_000).default([]),
    model: model.optional(),
    fairness: fairnessConfigSchema.prefault({}),
    tools: toolsConfigSchema.prefault({}),
    governance: governanceConfigSchema.prefault({}),
    operations: operations.prefault({}),
  })
  .superRefine((config, context) => {
    for (const fault of findConfigFaults(config)) {
      context.addIssue({ code: 'custom', path: [...fault.path], message: fault.text });
    }
  });

/** The parsed configuration, defaults filled in. */
export type StewardConfig = z.output<typeof stewardConfigSchema>;

function isTimeZone(text: string): boolean {
  try {
    // "+08:00" is accepted by Intl too, but is no zone with a history of its own.
    return (
      /^[A-Za-z]/.test(text) && new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone !== ''
    );
  } catch {
    return false;
  }
}
