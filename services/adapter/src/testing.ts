import { createHash, randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { createLogger, newId, parseSealKeys } from '@steward/service-kit';
import { createPostgres, type Database } from '@steward/postgres';
import type { InboundReceived } from '@steward/contracts';
import { createTestDatabase } from '@steward/testkit';
import type { AdapterTables } from './database.ts';
import type { NewInbound } from './record-inbound.ts';
import type { Robot } from './robots.ts';

export const silentLog = createLogger({ service: 'test', write: () => undefined });
export const replyKeys = parseSealKeys(`k1:${Buffer.alloc(32, 7).toString('base64')}`);

/** A migrated database: `db` as the adapter sees it, `connect` for a further pool, `rows` with the superuser's eyes. */
export async function openTestDatabase() {
  const database = await createTestDatabase();
  const admin = createPostgres<unknown>({ url: database.adminUrl, poolSize: 3, log: silentLog });
  const opened: Pick<Database<unknown>, 'close'>[] = [admin];
  const connect = () => {
    const url = database.url('steward_adapter');
    const service = createPostgres<AdapterTables>({ url, schema: 'adapter', poolSize: 4, log: silentLog });
    opened.push(service);
    return service.db;
  };
  return {
    db: connect(),
    connect,
    admin: admin.db,
    rows: async <T>(text: string) => (await sql.raw<T>(text).execute(admin.db)).rows,
    close: async () => {
      for (const handle of opened) await handle.close();
      await database.drop();
    },
  };
}

/** A robot message as a door hands it to the recorder; `source`, `sourceId` and `conversationId` are its identity. */
export function buildInbound(over: Partial<NewInbound> = {}): NewInbound {
  const id = newId();
  const correlationId = newId();
  const source = over.source ?? 'dingtest';
  const sourceId = over.sourceId === undefined ? `msg-${randomUUID()}` : over.sourceId;
  const conversationId = over.conversationId === undefined ? 'cid-1' : over.conversationId;
  return {
    id,
    kind: 'robot_message',
    source,
    sourceId,
    conversationId,
    correlationId,
    door: 'http',
    transportId: null,
    bodyHashHex: hashOf('body'),
    environment: 'test',
    staffId: 'staff-1',
    corpId: 'corp-1',
    message: buildReceived({ id, correlationId, source, sourceId, conversationId }),
    ...over,
  };
}

export const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');

function buildReceived(o: {
  id: string;
  correlationId: string;
  source: string;
  sourceId: string | null;
  conversationId: string | null;
}): InboundReceived {
  const now = new Date().toISOString();
  return {
    type: 'inbound.received.v1',
    id: newId(),
    correlationId: o.correlationId,
    causationId: o.id,
    occurredAt: now,
    body: {
      inboundEventId: o.id,
      msgId: o.sourceId ?? 'none',
      sequence: 1,
      environment: 'test',
      conversation: {
        robotCode: o.source,
        conversationId: o.conversationId ?? 'none',
        kind: 'group',
        title: 'ops room',
      },
      requester: { staffId: 'staff-1', corpId: 'corp-1', nick: 'Li' },
      content: { kind: 'text', text: 'hello', quotedText: null, attachments: 0 },
      replyAddress: null,
      sentAt: now,
      door: 'http',
    },
  };
}

/** A robot of environment test that uses every door. */
export function buildRobot(over: Partial<Robot> = {}): Robot {
  return {
    code: 'dingtest',
    name: 'ops',
    environment: 'test',
    corpId: 'corp-1',
    appKey: 'app-key-1',
    appSecretFile: 'unused',
    appSecret: 'app-secret-of-the-tests',
    doors: ['http', 'stream'],
    sendsPerMinute: 600,
    events: {
      token: 'event-token',
      aesKey: Buffer.alloc(32, 9).toString('base64').slice(0, 43),
      ownerKey: 'app-key-1',
    },
    cardSecret: 'card-secret-of-the-tests',
    ...over,
  };
}

/** A text message as the platform posts it. */
export function buildPayload(over: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    msgId: `msg-${randomUUID()}`,
    msgtype: 'text',
    createAt: Date.now(),
    conversationId: 'cid-1',
    conversationType: '2',
    conversationTitle: 'ops room',
    robotCode: 'dingtest',
    chatbotCorpId: 'corp-1',
    senderCorpId: 'corp-1',
    senderStaffId: 'staff-1',
    senderNick: 'Li',
    sessionWebhook: 'https://oapi.dingtalk.com/robot/sendBySession?session=c4nary',
    sessionWebhookExpiredTime: Date.now() + 5_400_000,
    text: { content: ' /help ' },
    ...over,
  };
}
