import { z } from 'zod';
import { SECRET_FILE_NAME } from './secret-file.ts';
import { findConfigFaults } from './steward-config-faults.ts';

const environment = z.enum(['test', 'production']);
const name = z.string().regex(/^[a-z0-9-]{1,50}$/, 'must be lower-case letters, digits and dashes');
const platformId = z.string().min(1).max(200);
/** Secrets are files inside the secrets folder; the configuration only names them. */
const secretFile = z.string().regex(SECRET_FILE_NAME, 'must be a file name inside the secrets folder, without a path');
const address = z.url({ protocol: /^https?$/, error: 'must be an http or https URL' });
const host = z
  .string()
  .max(260)
  .regex(
    /^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/,
    'must be a host name, with a port only for plain http',
  );

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
  cards: z.strictObject({ callbackSecretFile: secretFile }).optional(),
});

const customRobot = z.strictObject({
  name,
  environment,
  accessTokenFile: secretFile,
  secretFile: secretFile.optional(),
  /** The platform refuses the 21st in any minute (official docs, custom robot limits). */
  sendsPerMinute: z.int().min(1).max(20).default(18),
});

const room = z.strictObject({ id: platformId, name, robot: name, environment });

const person = z.strictObject({
  staffId: platformId,
  corpId: platformId,
  name: z.string().min(1).max(100),
  roles: z.array(name).max(50).default([]),
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

const dingtalk = z.strictObject({
  apiUrl: address.default('https://api.dingtalk.com'),
  oapiUrl: address.default('https://oapi.dingtalk.com'),
  sessionWebhookHosts: z.array(host).min(1).max(20).default(['oapi.dingtalk.com']),
});

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
