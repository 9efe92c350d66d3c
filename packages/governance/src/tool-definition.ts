import type { Environment } from '@steward/contracts';

/** What a tool does to the world. What is not declared counts as `destructive`. */
export type Effect = 'read' | 'write' | 'destructive';

/** A JSON value, as JSON.parse gives it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };

/**
 * Everything that makes a tool what it is. Its hash is part of every approval: who changes any of it voids the approvals
 * that were asked for under the old meaning (note A1).
 */
export type ToolDefinition = {
  /** `^[a-z][a-z0-9_]{0,63}$`: also a name that model APIs accept. */
  name: string;
  description: string;
  /** JSON Schema (draft 2020-12) of the arguments: an object schema with `additionalProperties: false`. */
  parameters: JsonObject;
  effect: Effect;
  /** Whether calling twice with the same idempotency key has the effect of calling once. */
  repeatable: boolean;
  /** Where it may be called from: nothing of one environment reaches the other. */
  environments: readonly Environment[];
  timeoutMs: number;
  maxOutputBytes: number;
  /** Calls of this tool for one target, at most; null where the policy alone limits it. */
  limit: { calls: number; perSeconds: number } | null;
  /** Names of the top-level fields of the preview that must still be the same when the call is made. */
  comparedPreviewFields: readonly string[];
  /** How the call is made, fully resolved, with the names of secrets and never their values. Null for a built-in tool. */
  request: JsonObject | null;
};

/** Who asks. `staffId` is null for somebody whom the platform does not vouch for. */
export type Principal = { corpId: string; staffId: string | null; roles: readonly string[] };
