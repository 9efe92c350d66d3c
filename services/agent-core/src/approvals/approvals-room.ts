import type { GateContext } from '../gate/gate-context.ts';

type Room = { robotCode: string; conversationId: string };

/** The approvals room of an environment, as the doors know it. */
export const findApprovalsRoom = (
  { directory, governance }: Pick<GateContext, 'directory' | 'governance'>,
  environment: string,
): Room | null => findRoom(directory, governance.approvalsRooms, environment);

/** The operations room of an environment: where those who run Steward are told. */
export const findOperationsRoom = (
  { directory, operations }: Pick<GateContext, 'directory' | 'operations'>,
  environment: string,
): Room | null => findRoom(directory, operations.rooms, environment);

function findRoom(directory: GateContext['directory'], names: readonly string[], environment: string): Room | null {
  for (const room of directory.rooms.values()) {
    if (room.environment !== environment || !names.includes(room.name)) continue;
    const robot = [...directory.robots.values()].find(({ name }) => name === room.robot);
    if (robot !== undefined) return { robotCode: robot.code, conversationId: room.id };
  }
  return null;
}
