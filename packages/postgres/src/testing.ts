import { createLogger, newId } from '@steward/service-kit';
import type { BusMessage } from '@steward/contracts';

export const silentLog = createLogger({ service: 'test', write: () => undefined });

/** A bus message that must be answered with a receipt (`outbound.requested`), or one that need not be. */
export function buildTold(needsReceipt: boolean): { subjectId: string; message: BusMessage } {
  const subjectId = newId();
  const envelope = {
    id: newId(),
    correlationId: newId(),
    causationId: newId(),
    occurredAt: new Date().toISOString(),
  };
  if (!needsReceipt) {
    return {
      subjectId,
      message: { type: 'outbound.recorded.v1', ...envelope, body: { outboundMessageId: subjectId } },
    };
  }
  const body = {
    outboundMessageId: subjectId,
    afterOutboundMessageId: null,
    environment: 'test' as const,
    lane: 'answer' as const,
    target: { kind: 'person' as const, robotCode: 'dingtest', staffId: 'staff-1' },
    content: { kind: 'text' as const, text: 'hello' },
  };
  return { subjectId, message: { type: 'outbound.requested.v1', ...envelope, body } };
}
