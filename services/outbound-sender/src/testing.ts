import { sql } from 'kysely';
import { createLogger, newId, parseSealKeys, stewardConfigSchema, type StewardConfig } from '@steward/service-kit';
import { createPostgres, type Database } from '@steward/postgres';
import type { OutboundContentV2, OutboundRequested, OutboundRequestedV2, OutboundTarget } from '@steward/contracts';
import { createTestDatabase } from '@steward/testkit';
import type { SenderTables } from './database.ts';
import { createOpener, type OpenAttempt, type OpenContext, type Opener } from './open-attempt.ts';
import { createOutboundRecorder } from './record-outbound.ts';
import type { SendLimits } from './send-limits.ts';

/** Limits without a config: each budget has its own, and nothing else limits. */
export const limitsOf = (perMinuteOf: (budget: string) => number): SendLimits => ({
  of: ({ budget }) => [{ scope: budget, spacingMs: 60_000 / perMinuteOf(budget), burst: 2 }],
  scopeToHold: (scope, { budget }) => (scope === 'content' || scope === 'target' ? null : budget),
});
export const generous = limitsOf(() => 60_000_000);

/** Opens what is due; nothing is in its way unless told. */
export const openerOf = (o: Pick<OpenContext, 'db'> & Partial<OpenContext>): Opener =>
  createOpener({
    ...{ limits: generous, quotas: [], isHeldBack: () => false, now: () => new Date(), random: () => 0.5 },
    ...o,
  });

/** A configuration with one custom robot and these robots of one app. */
export const buildSendConfig = (...names: readonly string[]): StewardConfig =>
  stewardConfigSchema.parse({
    robots: (names.length > 0 ? names : ['test']).map((name) => ({
      ...{ code: `ding${name}`, name, environment: 'test', corpId: 'corp-1', appKey: 'key-1', doors: ['stream'] },
      appSecretFile: `${name}.secret`,
    })),
    customRobots: [{ name: 'alerts', environment: 'test', accessTokenFile: 'alerts.token' }],
  });

export const silentLog = createLogger({ service: 'test', write: () => undefined });
export const replyKeys = parseSealKeys(`k1:${Buffer.alloc(32, 7).toString('base64')}`);

/** A migrated database: `db` as the sender sees it, `connect` for a further pool, `rows` with the superuser's eyes. */
export async function openTestDatabase() {
  const database = await createTestDatabase();
  const admin = createPostgres<unknown>({ url: database.adminUrl, poolSize: 3, log: silentLog });
  const opened: Pick<Database<unknown>, 'close'>[] = [admin];
  const connect = (poolSize = 4) => {
    const url = database.url('steward_outbound_sender');
    const service = createPostgres<SenderTables>({ url, schema: 'outbound_sender', poolSize, log: silentLog });
    opened.push(service);
    return service.db;
  };
  const db = connect(8);
  const record = createOutboundRecorder({ db, now: () => new Date() });
  return {
    db,
    connect,
    admin: admin.db,
    rows: async <T>(text: string) => (await sql.raw<T>(text).execute(admin.db)).rows,
    /** Records a request, and returns its outbound message's id. */
    record: async (o: RequestOptions & { content?: OutboundContentV2 } = {}) => {
      const requested = o.content === undefined ? buildRequested(o) : buildRequestedV2({ ...o, content: o.content });
      await record(requested);
      return requested.body.outboundMessageId;
    },
    /** Empties the tables that tests of one file would otherwise share. */
    clear: () =>
      sql
        .raw(
          `truncate outbound_sender.dead_letter, outbound_sender.outbound_resolution, outbound_sender.operator_request, outbound_sender.outbound_message, outbound_sender.delivery_attempt, outbound_sender.outbox,
           outbound_sender.inbox, outbound_sender.send_budget, outbound_sender.person_lookup`,
        )
        .execute(admin.db),
    close: async () => {
      for (const handle of opened) await handle.close();
      await database.drop();
    },
  };
}

export type RequestOptions = {
  target?: OutboundTarget;
  lane?: OutboundRequested['body']['lane'];
  after?: string | null;
  text?: string;
};

/** A request as agent-core tells it; without a target, to a group of the robot `dingtest`. */
export function buildRequested(o: RequestOptions = {}): OutboundRequested {
  return {
    type: 'outbound.requested.v1',
    id: newId(),
    correlationId: newId(),
    causationId: newId(),
    occurredAt: new Date().toISOString(),
    body: {
      outboundMessageId: newId(),
      afterOutboundMessageId: o.after ?? null,
      environment: 'test',
      lane: o.lane ?? 'answer',
      target: o.target ?? { kind: 'group', robotCode: 'dingtest', conversationId: 'cid-1' },
      content: { kind: 'markdown', title: 'title', text: o.text ?? 'hello' },
    },
  };
}

/** The same in version 2, for what is no words. */
export function buildRequestedV2(o: RequestOptions & { content: OutboundContentV2 }): OutboundRequestedV2 {
  const requested = buildRequested(o);
  return { ...requested, type: 'outbound.requested.v2', body: { ...requested.body, content: o.content } };
}

export const cardContent = {
  kind: 'card',
  outTrackId: 'apr-1',
  templateId: 'tpl.schema',
  params: { title: 'Restart payments?' },
  lastText: 'Approval wanted',
} as const;
export const cardUpdate = { kind: 'card_update', outTrackId: 'apr-1', params: { status: 'approved' } } as const;

/** A reply target; `expiresInMs` null has no reply address. */
export function buildReply(o: {
  kind?: 'single' | 'group';
  staffId?: string | null;
  expiresAtMs: number | null;
  sealedUrl?: string;
}): Extract<OutboundTarget, { kind: 'reply' }> {
  return {
    kind: 'reply',
    conversation: { robotCode: 'dingtest', conversationId: 'cid-1', kind: o.kind ?? 'group', title: null },
    staffId: o.staffId === undefined ? 'staff-1' : o.staffId,
    replyAddress:
      o.expiresAtMs === null
        ? null
        : { sealedUrl: o.sealedUrl ?? 'sealed', expiresAt: new Date(o.expiresAtMs).toISOString() },
  };
}

/** An open attempt, for code that needs no database. */
export function buildAttempt(over: Partial<OpenAttempt> = {}): OpenAttempt {
  return {
    attemptId: newId(),
    outboundMessageId: newId(),
    correlationId: newId(),
    budget: 'robot dingtest',
    number: 1,
    path: 'group_openapi',
    target: { kind: 'group', robotCode: 'dingtest', conversationId: 'cid-1' },
    content: { kind: 'markdown', title: 'title', text: 'hello' },
    part: 0,
    partCount: 1,
    text: 'hello',
    unknownCount: 0,
    ageMs: 0,
    reason: null,
    processQueryKeys: [],
    ...over,
  };
}
