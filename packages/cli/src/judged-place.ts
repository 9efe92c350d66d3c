import type { JudgeInput, Principal } from '@steward/governance';
import { AppError, type StewardConfig } from '@steward/service-kit';

/** What a verdict depends on besides person, tool and arguments. */
export type JudgedPlace = Pick<JudgeInput, 'environment' | 'robot' | 'room'> & { corpId: string };

/**
 * A configured room, by its name or id; without one, the single chat with a robot. Throws ROOM_UNKNOWN, ROBOT_UNKNOWN.
 */
export function findPlace(config: StewardConfig, o: { room?: string; robot?: string }): JudgedPlace {
  const room = config.rooms.find(({ name }) => name === o.room) ?? config.rooms.find(({ id }) => id === o.room);
  if (o.room !== undefined && room === undefined) {
    throw refuse('ROOM_UNKNOWN', 'no room of that name or id is in the configuration; `steward rooms list` shows them');
  }
  const wanted = room?.robot ?? o.robot;
  const robot = config.robots.find(({ name, code }) => name === wanted || code === wanted);
  if (robot === undefined)
    throw refuse('ROBOT_UNKNOWN', 'name a room with --room, or a robot of the configuration with --robot');
  return { environment: robot.environment, robot: robot.name, room: room?.name ?? null, corpId: robot.corpId };
}

/** Somebody as policies see them: with the roles of the configuration. */
export function toPrincipal(
  { people }: Pick<StewardConfig, 'people'>,
  corpId: string,
  staffId: string | null,
): Principal {
  const person = people.find((one) => one.corpId === corpId && one.staffId === staffId);
  return { corpId, staffId, roles: person?.roles ?? [] };
}

/** The names of the windows of the change calendar that are open at a time. */
export const openWindows = ({ governance }: Pick<StewardConfig, 'governance'>, at: Date): string[] =>
  governance.calendar
    .filter(({ from, to }) => Date.parse(from) <= at.getTime() && at.getTime() < Date.parse(to))
    .map(({ name }) => name);

const refuse = (code: string, text: string) => new AppError(code, text, { retryable: false });
