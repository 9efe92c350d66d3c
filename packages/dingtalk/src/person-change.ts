import { z } from 'zod';
import type { PlatformEventView } from './platform-event.ts';

/** What an event says about people of the organisation. */
export type PersonChange = { change: 'left' | 'modified'; staffIds: string[]; isCut: boolean };

/** More in one event than one bus message can carry; what is left out is learnt again when it is asked for. */
const maxStaffIds = 1_000;
const changeOf = new Map<string, PersonChange['change']>([
  ['user_leave_org', 'left'],
  ['user_modify_org', 'modified'],
  ['label_user_change', 'modified'],
]);
/** `userId` in changes of people, `userIdList` in changes of roles; older pushes begin with a capital. */
const idFields = ['userId', 'UserId', 'userIdList', 'UserIdList'];
const ids = z.union([z.string().transform((text) => [text]), z.array(z.unknown())]).catch([]);

/**
 * Reads whom an event of the address book is about; null for every other event, and for one that names nobody. Official
 * docs, "event subscription": user_leave_org, user_modify_org, label_user_change, over HTTP and Stream alike. Pure.
 */
export function readPersonChange({ eventType, payload }: PlatformEventView): PersonChange | null {
  const change = changeOf.get(eventType);
  if (change === undefined) return null;
  const named = idFields.flatMap((field) => ids.parse(payload[field]));
  const staffIds = [...new Set(named.filter(isStaffId))];
  if (staffIds.length === 0) return null;
  return { change, staffIds: staffIds.slice(0, maxStaffIds), isCut: staffIds.length > maxStaffIds };
}

const isStaffId = (value: unknown): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= 200;
