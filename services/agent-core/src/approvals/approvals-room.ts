import type { GateContext } from '../gate/gate-context.ts';

/** The approvals room of an environment, as the doors know it. */
export function findApprovalsRoom(
  { directory, governance }: Pick<GateContext, 'directory' | 'governance'>,
  environment: string,
): { robotCode: string; conversationId: string } | null {
  for (const room of directory.rooms.values()) {
    if (room.environment !== environment || !governance.approvalsRooms.includes(room.name)) continue;
    const robot = [...directory.robots.values()].find(({ name }) => name === room.robot);
    if (robot !== undefined) return { robotCode: robot.code, conversationId: room.id };
  }
  return null;
}
