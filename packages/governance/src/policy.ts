import type { Shape, InvisibleArgument } from './argument-shape.ts';
import type { JudgedTool } from './build-schema.ts';
import type { Obligations } from './verdict.ts';

/** One file of a policy set, by its name without folder. */
export type PolicyFile = { name: string; text: string };

/** One `permit` or `forbid`. */
export type PolicyStatement = {
  /** `@id`, else `<file>#<number>`. */
  id: string;
  effect: 'permit' | 'forbid';
  file: string;
  /** Where its text begins. */
  line: number;
  text: string;
  description: string | null;
  /** What its permission asks for; null unless it permits `callWithApproval`. */
  obligations: Obligations | null;
};

/**
 * A policy set that was checked as a whole, for one set of tools. Cedar keeps its parsed form in this thread under the hash:
 * several can be in use at once, and a policy is of no use in another thread.
 */
export type Policy = {
  /** SHA-256 of the files, byte for byte, and of what of the tools a verdict depends on; in hex. */
  hash: string;
  /** The text that was hashed: canonical JSON of files, schema and tools, so that anybody can see later what was in force. */
  source: string;
  statements: ReadonlyMap<string, PolicyStatement>;
  tools: ReadonlyMap<string, { tool: JudgedTool; shape: Shape }>;
  /** Roles that any condition or scope names, sorted. */
  roles: readonly string[];
  invisibleArguments: readonly (InvisibleArgument & { tool: string })[];
  /** Cedar's doubts, such as a policy that can never match with the tools that there are. */
  warnings: readonly string[];
};
