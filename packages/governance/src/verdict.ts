import type { Environment, Lane } from '@steward/contracts';
import type { JsonObject, Principal, ToolDefinition } from './tool-definition.ts';

/** What an approval of a call must fulfil: the strictest of every policy that permits it with approval (note C2). */
export type Obligations = {
  /** At least one approver of each group; within a group any of the roles will do. */
  approverGroups: readonly (readonly string[])[];
  /** Distinct people who must approve. */
  quorum: number;
  /** Distinct people whose denial ends it; 1 unless the policy says otherwise. */
  denyQuorum: number;
  /** How long people may take to decide. */
  approveWithinSeconds: number;
  /** How long after the decision the call may start. */
  runWithinSeconds: number;
  /** Whether an approval needs a reason. A denial always does, by text. */
  reasonRequired: boolean;
  /** Whether the requester may approve: an explicit exception of the policy, audited as such. */
  selfApproval: boolean;
};

/** Everything that a policy can look at. */
export type JudgeInput = {
  principal: Principal;
  tool: Pick<ToolDefinition, 'name' | 'effect' | 'repeatable' | 'environments'>;
  arguments: JsonObject;
  environment: Environment;
  /** The robot's and the room's names in the configuration; null where the place is a single chat. */
  robot: string;
  room: string | null;
  lane: Lane;
  /** Whether the audit log of this installation is sealed and the newest seal is fresh. */
  audited: boolean;
  now: Date;
  /** IANA name: times of day in a policy are this zone's. */
  timeZone: string;
  /** Names of the change-calendar windows that are open now (freeze windows, holidays). */
  calendar: readonly string[];
};

export type VerdictReason =
  | 'permitted'
  | 'needs_approval'
  /** A forbid matched. */
  | 'forbidden'
  /** No permit matched. */
  | 'no_rule'
  /** A condition could not be evaluated: that is a no (note C1). */
  | 'evaluation_error'
  /** The tool does not exist here: it is not configured, or it is of the other environment. */
  | 'unknown_tool'
  | 'invalid_arguments'
  /** The platform does not vouch for the requester. */
  | 'unknown_person';

export type Verdict = {
  verdict: 'allow' | 'ask' | 'deny';
  reason: VerdictReason;
  /** SHA-256 of the policy set, the schema included, in hex. */
  policyHash: string;
  /** The policies that decided, by `@id` or file and number. */
  policyIds: readonly string[];
  /** What an approval must fulfil; null unless the verdict is `ask`. */
  obligations: Obligations | null;
};
