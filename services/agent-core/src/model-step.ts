import type { JsonObject } from '@steward/governance';

/** A tool as the model is offered it. `judged` is only told: what happens to a call is decided where the call is made. */
export type OfferedTool = { name: string; description: string; parameters: JsonObject; judged: 'allow' | 'ask' };

/** What the model is told of a skill before it uses one. */
export type SkillSummary = { name: string; description: string };

/**
 * A call that the model proposes. `id` is unique in the turn. `arguments` is null where they are no JSON object that can
 * be judged and stored; `rawArguments` is what was sent, cut and storable, for the record.
 */
export type ModelCall = { id: string; tool: string; arguments: JsonObject | null; rawArguments: string };

/** One reply of the model: words, calls, or both; neither when it said nothing. */
export type ModelStep = { text: string; calls: readonly ModelCall[]; model: string; promptHash: string };

/** A committed step with what came of its calls. */
export type PastStep = { step: ModelStep; results: readonly { callId: string; text: string }[] };
