import type { Environment } from '@steward/contracts';
import type { Logger, Metrics, StewardConfig } from '@steward/service-kit';
import type { Db, Trx } from '@steward/postgres';
import type { Principal } from '@steward/governance';
import type { ClaimedTurn } from '../claim-turn.ts';
import type { AgentTables } from '../database.ts';
import type { Access, Directory } from '../judge-access.ts';
import type { Language } from '../texts.ts';
import type { Tool, ToolCallContext } from '../tool.ts';
import type { CallRow } from './load-calls.ts';
import type { PolicyDesk } from './policy-desk.ts';

/** The tools of this installation, by name. */
export type ToolBox = ReadonlyMap<string, Tool>;

/** The roles a person holds now: those of the configuration and, where DingTalk keeps some, those it vouched for lately. */
export type RolesOf = (person: { corpId: string; staffId: string }) => Promise<readonly string[]>;

/** What the gate works with. There is one gate: commands, skills and the model all come through it. */
export type GateContext = {
  db: Db<AgentTables>;
  log: Logger;
  metrics: Metrics;
  now: () => Date;
  language: Language;
  timeZone: string;
  directory: Directory;
  governance: StewardConfig['governance'];
  operations: StewardConfig['operations'];
  people: StewardConfig['people'];
  rolesOf: RolesOf;
  policy: PolicyDesk;
  tools: ToolBox;
  /** Whether the audit log is sealed, and freshly so. */
  isAudited: () => Promise<boolean>;
  logToolCalls: boolean;
  /** There is something new in the outbox. */
  onTold: () => void;
  /** For the work of one turn: see `transact`. */
  fence?: (trx: Trx<AgentTables>) => Promise<void>;
};

/** A turn whose place was let in, with everything the gate must know of it. */
export type GatedTurn = {
  turn: ClaimedTurn;
  access: Access & { verdict: 'allow' };
  principal: Principal;
};

/** The tool of that name, if it may be called from that environment at all. */
export function findTool(tools: ToolBox, name: string, environment: Environment): Tool | null {
  const tool = tools.get(name);
  return tool?.definition.environments.includes(environment) ? tool : null;
}

/** Who asks, as a policy sees it: nobody in particular where the platform does not vouch for them. */
export async function principalOf(
  context: Pick<GateContext, 'directory' | 'rolesOf'>,
  turn: ClaimedTurn,
): Promise<Principal> {
  const { requester, conversation } = turn.inbound;
  const corpId = context.directory.robots.get(conversation.robotCode)?.corpId ?? '';
  const isForeign = requester.corpId !== null && requester.corpId !== corpId;
  // In a group the platform always says whose employee it is; where it does not, it vouches for nobody.
  const isUnvouched = conversation.kind === 'group' && requester.corpId === null;
  if (requester.staffId === null || isForeign || isUnvouched) return { corpId, staffId: null, roles: [] };
  return { corpId, staffId: requester.staffId, roles: await context.rolesOf({ corpId, staffId: requester.staffId }) };
}

/** A person as the audit log names them: with the roles held at that moment. */
export const actorOf = (person: { corpId: string; staffId: string | null; roles: readonly string[] }) => ({
  corpId: person.corpId,
  staffId: person.staffId,
  role: person.roles.length === 0 ? null : person.roles.join(' '),
});

/** A call as its tool sees it. */
export function toCallContext(
  { turn, principal }: GatedTurn,
  call: Pick<CallRow, 'id' | 'environment' | 'robotCode' | 'conversationId' | 'correlationId'>,
): ToolCallContext {
  return {
    toolCallId: call.id,
    idempotencyKey: `steward-${call.id}`,
    environment: call.environment,
    robotCode: call.robotCode,
    conversationId: call.conversationId,
    conversationKind: turn.inbound.conversation.kind,
    requester: principal,
    correlationId: call.correlationId,
  };
}
