import type { InboundReceived } from '@steward/contracts';
import type { StewardConfig } from '@steward/service-kit';

/** Who and where, as configured. Built once from the configuration. */
export type Directory = {
  robots: ReadonlyMap<string, StewardConfig['robots'][number]>;
  rooms: ReadonlyMap<string, StewardConfig['rooms'][number]>;
  people: ReadonlyMap<string, StewardConfig['people'][number]>;
};

export type Access =
  | { verdict: 'allow'; place: string; person: StewardConfig['people'][number] | null }
  | { verdict: 'deny'; reason: 'unknown_robot' | 'unknown_room' | 'unknown_person' | 'other_environment' };

const key = (...parts: string[]) => JSON.stringify(parts);

export function buildDirectory(config: StewardConfig): Directory {
  const codeOf = new Map(config.robots.map(({ name, code }) => [name, code]));
  return {
    robots: new Map(config.robots.map((robot) => [robot.code, robot])),
    rooms: new Map(config.rooms.map((room) => [key(codeOf.get(room.robot) ?? '', room.id), room])),
    people: new Map(config.people.map((person) => [key(person.corpId, person.staffId), person])),
  };
}

/**
 * Whether Steward talks in this place at all: a group must be a configured room, and in a single chat the person must be
 * configured. Whatever is missing means no. In a room anybody may talk; `person` says who is known by name.
 */
export function judgeAccess(directory: Directory, inbound: InboundReceived['body']): Access {
  const { conversation, requester, environment } = inbound;
  const robot = directory.robots.get(conversation.robotCode);
  if (robot === undefined) return { verdict: 'deny', reason: 'unknown_robot' };
  if (robot.environment !== environment) return { verdict: 'deny', reason: 'other_environment' };
  const person = findPerson(directory, robot.corpId, requester);
  if (conversation.kind === 'single') {
    return person ? { verdict: 'allow', place: person.name, person } : { verdict: 'deny', reason: 'unknown_person' };
  }
  const room = directory.rooms.get(key(conversation.robotCode, conversation.conversationId));
  if (room === undefined) return { verdict: 'deny', reason: 'unknown_room' };
  return { verdict: 'allow', place: room.name, person };
}

/** Identity is (corpId, staffId). A sender without a staff id, or of another organisation, is nobody here. */
function findPerson(
  directory: Directory,
  robotCorpId: string,
  { staffId, corpId }: InboundReceived['body']['requester'],
) {
  if (staffId === null || (corpId !== null && corpId !== robotCorpId)) return null;
  return directory.people.get(key(robotCorpId, staffId)) ?? null;
}
