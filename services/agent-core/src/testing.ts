import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { createLogger, newId, stewardConfigSchema, type StewardConfig } from '@steward/service-kit';
import { createPostgres, type Database } from '@steward/postgres';
import { laneSchema, type InboundReceived } from '@steward/contracts';
import { createTestDatabase } from '@steward/testkit';
import type { ClaimedTurn } from './claim-turn.ts';
import type { AgentTables } from './database.ts';

/** For tests in which it does not matter whose slot a turn takes. */
export const everyLane = laneSchema.options;

export const silentLog = createLogger({ service: 'test', write: () => undefined });

/** A migrated database: `db` as agent-core sees it, `connect` for a further pool, `rows` with the superuser's eyes. */
export async function openTestDatabase() {
  const database = await createTestDatabase();
  const admin = createPostgres<unknown>({ url: database.adminUrl, poolSize: 3, log: silentLog });
  const opened: Pick<Database<unknown>, 'close'>[] = [admin];
  const connect = (poolSize = 4) => {
    const url = database.url('steward_agent_core');
    const service = createPostgres<AgentTables>({ url, schema: 'agent_core', poolSize, log: silentLog });
    opened.push(service);
    return service.db;
  };
  return {
    db: connect(8),
    connect,
    admin: admin.db,
    rows: async <T>(text: string) => (await sql.raw<T>(text).execute(admin.db)).rows,
    /** Empties the tables that tests of one file would otherwise share. */
    clear: () =>
      sql
        .raw(
          `truncate agent_core.conversation, agent_core.turn, agent_core.step, agent_core.transcript, agent_core.outbox,
           agent_core.inbox, agent_core.outbound_tail, agent_core.card_click, agent_core.tool_call, agent_core.tool_call_resolution, agent_core.approval_request,
           agent_core.approval_vote, agent_core.approval_place, agent_core.approval_shown, agent_core.break_glass,
           agent_core.tool_grant, agent_core.tool_attempt, agent_core.tool_budget, agent_core.directory_person,
           agent_core.operator_request, agent_core.active_policy, agent_core.unknown_told, agent_core.unknown_notice, agent_core.quota_told;
           update agent_core.freeze set frozen = false, changed_by = null`,
        )
        .execute(admin.db),
    close: async () => {
      for (const handle of opened) await handle.close();
      await database.drop();
    },
  };
}

/** What an inbound event is about; the rest is filled in. */
export type InboundOptions = {
  room?: string;
  kind?: 'single' | 'group';
  title?: string;
  sequence?: number;
  text?: string;
  content?: InboundReceived['body']['content'];
  requester?: Partial<InboundReceived['body']['requester']>;
  robotCode?: string;
  environment?: 'test' | 'production';
  replyAddress?: InboundReceived['body']['replyAddress'];
};

/** A bus message as the adapter tells it. */
export function buildReceived(o: InboundOptions = {}): InboundReceived {
  const inboundEventId = newId();
  const now = new Date().toISOString();
  return {
    type: 'inbound.received.v1',
    id: newId(),
    correlationId: newId(),
    causationId: inboundEventId,
    occurredAt: now,
    body: {
      inboundEventId,
      msgId: `msg-${randomUUID()}`,
      sequence: o.sequence ?? 1,
      environment: o.environment ?? 'test',
      conversation: {
        robotCode: o.robotCode ?? 'dingtest',
        conversationId: o.room ?? 'cid-1',
        kind: o.kind ?? 'group',
        title: o.title ?? 'a title from outside',
      },
      requester: { staffId: 'staff-1', corpId: 'corp-1', nick: 'Li', ...o.requester },
      content: o.content ?? { kind: 'text', text: o.text ?? 'hello', quotedText: null, attachments: 0 },
      replyAddress: o.replyAddress ?? null,
      sentAt: now,
      door: 'http',
    },
  };
}

/** A claimed turn of that inbound event, for code that needs no database. */
export function buildTurn(o: InboundOptions & { attempt?: number } = {}): ClaimedTurn {
  const { body, correlationId } = buildReceived(o);
  return {
    id: newId(),
    robotCode: body.conversation.robotCode,
    conversationId: body.conversation.conversationId,
    sequence: body.sequence,
    lane: 'answer',
    attempt: o.attempt ?? 1,
    resumedAtAttempt: 0,
    correlationId,
    ageSeconds: 0,
    environment: body.environment,
    inbound: body,
    isTakenOver: false,
    room: { failures: 0, errorCode: null, errorAgeSeconds: null, errorsUntold: 0 },
  };
}

/** A configuration with one test robot, one room and one person. */
export function buildConfig(): StewardConfig {
  return stewardConfigSchema.parse({
    robots: [
      {
        code: 'dingtest',
        name: 'ops',
        environment: 'test',
        corpId: 'corp-1',
        appKey: 'app-key-1',
        appSecretFile: 'unused',
        doors: ['http'],
      },
    ],
    rooms: [{ id: 'cid-1', name: 'ops-room', robot: 'ops', environment: 'test' }],
    people: [{ staffId: 'staff-1', corpId: 'corp-1', name: 'Li Lei', roles: ['ops'] }],
  });
}
