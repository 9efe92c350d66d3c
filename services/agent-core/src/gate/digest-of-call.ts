import { approvalDigest } from '@steward/governance';
import type { GateContext } from './gate-context.ts';
import type { CallRow } from './load-calls.ts';

/**
 * The digest of a call as its row and the configuration have it now: what is about to be called is what a grant was given for
 * only where the two are the same (note A1). A call under broken glass is bound by its own id.
 */
export function digestOfCall({ directory }: Pick<GateContext, 'directory'>, call: CallRow): Buffer {
  return approvalDigest({
    requestId: call.requestId ?? call.id,
    definitionHash: call.definitionHash ?? '',
    arguments: call.arguments,
    requester: { corpId: call.requesterCorpId ?? '', staffId: call.requesterStaffId ?? '' },
    room: { robotCode: call.robotCode, conversationId: call.conversationId },
    robot: directory.robots.get(call.robotCode)?.name ?? '',
    environment: call.environment,
  });
}
