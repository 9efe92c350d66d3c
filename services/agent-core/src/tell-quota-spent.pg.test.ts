import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { newId } from '@steward/service-kit';
import { buildAttackConfig, openAttacked, type AttackDatabase } from './attacks.test-support.ts';
import { claimTurn } from './claim-turn.ts';
import { recordInbound } from './record-inbound.ts';
import { runTurn } from './run-turn.ts';
import { createOutboundReceipts } from './settle-outbound.ts';
import { tellOutbound } from './tell-outbound.ts';
import { tellQuotaSpent } from './tell-quota-spent.ts';
import { buildReceived, everyLane, openTestDatabase } from './testing.ts';
import { texts } from './texts.ts';

let database: AttackDatabase;
let gate: Awaited<ReturnType<typeof openAttacked>>;
const config = () => ({ ...buildAttackConfig(), operations: { rooms: ['approvals', 'prod-approvals'] } });
beforeAll(async () => (database = await openTestDatabase()));
beforeEach(async () => {
  await database.clear();
  gate = await openAttacked(database, { config: config() });
});
afterAll(() => database.close());

const spent = 'Forbidden.AccessDenied.ApiCountLimitForOrg';
/** The sender's word on a message that was asked for. */
async function settle(reason: string | null, ending: 'accepted' | 'failed' = 'failed'): Promise<void> {
  const [outboundMessageId, correlationId] = [newId(), newId()];
  await gate.context.db.transaction().execute((trx) =>
    tellOutbound(trx, {
      ...{ outboundMessageId, after: null, environment: 'test', lane: 'answer' },
      target: { kind: 'group', robotCode: 'dingtest', conversationId: 'cid-1' },
      content: { kind: 'text', text: 'x' },
      ...{ correlationId, causationId: correlationId, now: new Date() },
    }),
  );
  await createOutboundReceipts(gate.context).settle({
    ...{ type: 'outbound.settled.v1', id: newId(), correlationId, causationId: outboundMessageId },
    occurredAt: new Date().toISOString(),
    body: { outboundMessageId, ending, reason, attempts: 1 },
  });
}
const notices = async (quota: 'api_calls' | 'messages' = 'api_calls') =>
  (await gate.told()).filter(({ content }) => content['text'] === texts.quotaSpent.en(quota));

describe('a quota that the platform calls spent', () => {
  it.each([spent, '90020'])('is told in the operations room of each environment, once a day (%s)', async (code) => {
    await settle(code);
    await settle(code);
    expect((await notices()).map(({ target }) => target)).toEqual([
      { kind: 'group', robotCode: 'dingtest', conversationId: 'cid-approvals' },
      { kind: 'group', robotCode: 'dingprod', conversationId: 'cid-prod-approvals' },
    ]);
    await database.rows(`update agent_core.quota_told set told_on = told_on - 1`);
    await settle(code);
    expect(await notices()).toHaveLength(4);
  });

  it('is told once by many replicas', async () => {
    const why = { quota: 'messages', correlationId: newId(), causationId: newId() } as const;
    const tellOnce = () => gate.context.db.transaction().execute((trx) => tellQuotaSpent(trx, gate.context, why));
    await Promise.all(Array.from({ length: 6 }, tellOnce));
    expect(await notices('messages')).toHaveLength(2);
  });

  it('leaves by the reply address of what was last said in the room: that costs no call', async () => {
    const replyAddress = { sealedUrl: 'v1.sealed', expiresAt: '2099-01-01T00:00:00.000Z' };
    await recordInbound(gate.context, buildReceived({ room: 'cid-approvals', replyAddress }));
    await settle(spent);
    expect((await notices())[0]?.target).toMatchObject({
      kind: 'reply',
      conversation: { conversationId: 'cid-approvals' },
      replyAddress,
    });
  });

  it('is told when the platform says that messages do not reach us any more (20001), in the lane that no saving stops', async () => {
    await recordInbound(gate.context, buildReceived({ content: { kind: 'quota_notice', text: 'spent' } }));
    const turn = await claimTurn(gate.context.db, everyLane);
    if (turn === null) throw new Error('nothing was claimed');
    await runTurn(gate.context, turn, new AbortController().signal);
    expect((await notices('messages')).map(({ lane }) => lane)).toEqual(['approval', 'approval']);
  });

  it('is nothing that another failure or an acceptance says', async () => {
    await settle('TIMEOUT');
    await settle(null, 'accepted');
    expect(await notices()).toEqual([]);
  });
});
