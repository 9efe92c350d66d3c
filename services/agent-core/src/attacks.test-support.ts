import { expect } from '@jest/globals';
import { stewardConfigSchema, type StewardConfig } from '@steward/service-kit';
import {
  buildGateConfig,
  buildTools,
  createFakeSystem,
  createTalk,
  newestCode,
  people,
  openTestGate,
  type GateOptions,
} from './gate.test-support.ts';
import type { openTestDatabase } from './testing.ts';
import type { TurnContext } from './run-turn.ts';

export type AttackDatabase = Awaited<ReturnType<typeof openTestDatabase>>;

/** Beside the usual: a production robot with an approvals room of its own, and a robot of another organisation. */
export function buildAttackConfig(
  o: {
    governance?: Partial<StewardConfig['governance']>;
    cards?: boolean;
    /** Public operator keys, by staff id. */
    keys?: Record<string, string>;
  } = {},
): StewardConfig {
  const config = buildGateConfig(o.governance);
  const [robot] = config.robots;
  if (robot === undefined) throw new Error('the configuration of these tests has changed');
  const another = (code: string, name: string, change: object) => ({
    ...robot,
    code,
    name,
    appKey: `key-of-${name}`,
    ...change,
  });
  return stewardConfigSchema.parse({
    ...config,
    robots: [
      { ...robot, ...(o.cards === true && { cards: { approvals: { templateId: 'template-1.schema' } } }) },
      ...config.robots.slice(1),
      another('dingprod', 'prod', { environment: 'production' }),
      another('dingforeign', 'foreign', { corpId: 'corp-2' }),
    ],
    rooms: [
      ...config.rooms,
      { id: 'cid-prod', name: 'prod-room', robot: 'prod', environment: 'production' },
      { id: 'cid-prod-approvals', name: 'prod-approvals', robot: 'prod', environment: 'production' },
      { id: 'cid-foreign', name: 'foreign-room', robot: 'foreign', environment: 'test' },
    ],
    people: [
      ...config.people.map((person) => ({ ...person, operatorKey: o.keys?.[person.staffId] })),
      // The same staff id as Han's, in another organisation: another person.
      { staffId: people.han, corpId: 'corp-2', name: 'Mallory', roles: ['approver', 'sre-lead'] },
    ],
    governance: { ...config.governance, approvalsRooms: ['approvals', 'prod-approvals'] },
  });
}

/** A gate that is attacked: what systems did, what is on record, and what was told. */
export async function openAttacked(database: AttackDatabase, o: GateOptions = {}) {
  await database.clear();
  const system = o.system ?? createFakeSystem();
  const config = o.config ?? buildAttackConfig();
  const context: TurnContext = await openTestGate(database.db, {
    ...o,
    system,
    config,
    tools: o.tools ?? buildTools(system),
  });
  const talk = createTalk(context);
  const [since] = await database.rows<{ id: string }>(`select coalesce(max(id::text), '') as id from audit.entry`);
  /** `kind outcome` of the entries since the gate was opened, in their order. */
  const audited = async (kind: RegExp) =>
    (
      await database.rows<{ what: string }>(
        `select kind || ' ' || outcome as what from audit.entry where id::text > '${since?.id ?? ''}' order by transaction_id, id`,
      )
    )
      .map(({ what }) => what)
      .filter((what) => kind.test(what));
  const statuses = async () =>
    (
      await database.rows<{ status: string }>('select status from agent_core.approval_request order by created_at, id')
    ).map(({ status }) => status);
  return {
    system,
    config,
    context,
    talk,
    audited,
    statuses,
    /** Li asks for a restart in his room; the code of the request. */
    ask: async (text = '/run restart service=web', who = 'staff-1') => {
      await talk.say(who, text);
      return newestCode(database.db);
    },
    /** Whatever was tried: no vote, no grant, no effect; the request waits as before. */
    expectUntouched: async () => {
      expect(system.effects).toEqual([]);
      expect(await statuses()).toEqual(['pending']);
      expect(await database.rows('select from agent_core.approval_vote')).toHaveLength(0);
      expect(await database.rows('select from agent_core.tool_grant')).toHaveLength(0);
    },
    /** What outbound-sender was asked to say, in the order of asking. */
    told: async () =>
      (
        await database.rows<{
          body: { lane: string; target: Record<string, unknown>; content: Record<string, unknown> };
        }>(`select message -> 'body' as body from agent_core.outbox where type like 'outbound.requested%' order by id`)
      ).map(({ body }) => body),
  };
}

/** Changes rows with the superuser's hands, past every rule of the database: what only the passing of time could do. */
export async function forceRows(database: AttackDatabase, statement: string): Promise<void> {
  await database.rows(`set session_replication_role = replica; ${statement}; set session_replication_role = origin`);
}

/** Moves clocks of requests, though what is asked for never changes. */
export const moveRequests = (database: AttackDatabase, set: string): Promise<void> =>
  forceRows(database, `update agent_core.approval_request set ${set}`);
