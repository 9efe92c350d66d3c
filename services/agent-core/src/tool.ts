import type { Environment, OutboundContentV2, OutboundTarget } from '@steward/contracts';
import type { JsonObject, Principal, ToolDefinition } from '@steward/governance';

/** One call as a tool sees it. The idempotency key is the same for every attempt of one call. */
export type ToolCallContext = {
  toolCallId: string;
  idempotencyKey: string;
  environment: Environment;
  robotCode: string;
  conversationId: string;
  conversationKind: 'single' | 'group';
  requester: Principal;
  correlationId: string;
};

/** What a call came to. `failed`: it certainly had no effect. `unknown`: nobody can say. */
export type ToolResult =
  { kind: 'done'; output: string } | { kind: 'failed'; code: string; text: string } | { kind: 'unknown'; code: string };

/** What a tool asks outbound-sender for; the call is done when that outbound message has ended (note A10). */
export type ToldRequest = { target: OutboundTarget; content: OutboundContentV2 };

/**
 * A tool. `call` reaches its system from here and never rejects for what that system does; `tell` asks outbound-sender,
 * with arguments that do not fit refused as `failed`. `budgetOf` names the target whose rate a call spends.
 */
export type Tool = {
  definition: ToolDefinition;
  preview?: (args: JsonObject, context: ToolCallContext, signal: AbortSignal) => Promise<JsonObject>;
  budgetOf?: (args: JsonObject) => string;
  run:
    | { kind: 'call'; call: (args: JsonObject, context: ToolCallContext, signal: AbortSignal) => Promise<ToolResult> }
    | {
        kind: 'tell';
        toRequest: (args: JsonObject, context: ToolCallContext) => ToldRequest | (ToolResult & { kind: 'failed' });
      };
};

/** Where tools come from. Rejects with TOOLS_INVALID, naming file and fault, when what is configured cannot be used. */
export type LoadTools = () => Promise<readonly Tool[]>;
