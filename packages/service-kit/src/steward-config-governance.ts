import { z } from 'zod';
import { address, environment, host, name, platformId, secretFile } from './steward-config-parts.ts';

const role = name;
const roles = z.array(role).max(20).default([]);

/**
 * An address that HTTP tools may call, and the name by which they call it. Without `private` its address must be public;
 * without `http` it must be https.
 */
const toolHost = z.strictObject({
  name,
  host,
  environments: z.array(environment).min(1).max(2),
  private: z.boolean().default(false),
  http: z.boolean().default(false),
});

/** A secret that a tool's header may name. The file's content goes into the call and nowhere else. */
const toolSecret = z.strictObject({ name, file: secretFile, environments: z.array(environment).min(1).max(2) });

const prometheus = z.strictObject({ environment, url: address, tokenFile: secretFile.optional() });

/** What tools may reach: the agent's whole way out, apart from the model. */
export const toolsConfigSchema = z.strictObject({
  hosts: z.array(toolHost).max(200).default([]),
  secrets: z.array(toolSecret).max(200).default([]),
  prometheus: z.array(prometheus).max(2).default([]),
});

const isoTime = z.iso.datetime({ offset: true });

/** A time in which policies may refuse changes: `context.calendar` holds the names of the windows that are open. */
const calendarWindow = z.strictObject({ name, from: isoTime, to: isoTime });

/** While somebody is away, another person holds their roles too; never the other way round, and not passed on further. */
const deputy = z.strictObject({
  corpId: platformId,
  absent: platformId,
  deputy: platformId,
  from: isoTime,
  to: isoTime,
});

/** Roles that DingTalk keeps: whoever has one of its roles, or is in one of its departments, has ours too. */
const directory = z.strictObject({
  robot: name,
  /** What the platform said counts for so long; older answers count for nothing. */
  maxAgeSeconds: z.int().min(60).max(3_600).default(600),
  roles: z
    .array(
      z.strictObject({
        role,
        roleIds: z.array(platformId).max(50).default([]),
        departmentIds: z.array(platformId).max(50).default([]),
      }),
    )
    .max(50)
    .default([]),
});

/** Who may stop, override and watch; how much may wait for people at once. What may be called is the policy's to say. */
export const governanceConfigSchema = z.strictObject({
  /** Rooms in which approval requests are shown too, and may be decided: at most one for each environment. */
  approvalsRooms: z.array(name).max(2).default([]),
  freezeRoles: roles,
  breakGlassRoles: roles,
  reviewRoles: roles,
  breakGlassMaxMinutes: z.int().min(1).max(60).default(30),
  maxPendingPerRequester: z.int().min(1).max(100).default(5),
  maxPendingPerRoom: z.int().min(1).max(500).default(20),
  /** Where the newest checkpoint of the audit log is said once a day. */
  checkpointRoom: name.optional(),
  calendar: z.array(calendarWindow).max(200).default([]),
  deputies: z.array(deputy).max(500).default([]),
  directory: directory.optional(),
});

/** An approval card: the template made in DingTalk's card platform, and what its variables are called there. */
export const cardTemplateSchema = z.strictObject({
  templateId: platformId,
  variables: z
    .strictObject({
      title: z.string().min(1).max(100).default('title'),
      body: z.string().min(1).max(100).default('body'),
      status: z.string().min(1).max(100).default('status'),
      code: z.string().min(1).max(100).default('code'),
      digest: z.string().min(1).max(100).default('digest'),
      canDecide: z.string().min(1).max(100).default('canDecide'),
    })
    .prefault({}),
});
