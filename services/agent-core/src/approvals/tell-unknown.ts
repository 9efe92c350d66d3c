import { newId } from '@steward/service-kit';
import type { OutboundTarget } from '@steward/contracts';
import type { Trx } from '@steward/postgres';
import type { AgentTables } from '../database.ts';
import type { GateContext } from '../gate/gate-context.ts';
import type { CallRow } from '../gate/load-calls.ts';
import { quoteForMarkdown } from '../quote-for-markdown.ts';
import { tellOutbound } from '../tell-outbound.ts';
import { toMarkdown } from '../to-markdown.ts';
import { approvalTexts } from './approval-texts.ts';
import { findApprovalsRoom } from './approvals-room.ts';

/** Tells an unknown outcome where no turn will: in the room of a turn that is over, and to approvers of a call without a request. */
export async function tellUnknownElsewhere(
  trx: Trx<AgentTables>,
  context: GateContext,
  call: CallRow,
  o: { toApprovers: boolean },
): Promise<void> {
  const targets: OutboundTarget[] = [];
  const room = o.toApprovers ? findApprovalsRoom(context, call.environment) : null;
  if (room !== null) targets.push({ kind: 'group', ...room });
  const turn = await trx
    .selectFrom('turn')
    .select(['status', 'inbound'])
    .where('id', '=', call.turnId)
    .executeTakeFirst();
  if (turn?.status === 'done' || turn?.status === 'failed') {
    const { conversation, requester, replyAddress } = turn.inbound;
    targets.push({ kind: 'reply', conversation, staffId: requester.staffId, replyAddress });
  }
  const text = approvalTexts[context.language].unknown({
    code: call.requestCode ?? '–',
    tool: quoteForMarkdown(call.tool),
    reference: call.correlationId.slice(-8),
  });
  for (const target of targets) {
    await tellOutbound(trx, {
      outboundMessageId: newId(),
      after: null,
      environment: call.environment,
      lane: 'approval',
      target,
      content: toMarkdown(text),
      correlationId: call.correlationId,
      causationId: call.id,
      now: context.now(),
    });
  }
}
