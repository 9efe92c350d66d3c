import type { StewardConfig } from '@steward/service-kit';
import type { ToolDefinition } from './tool-definition.ts';

/** What built-in tools take at most; their definitions say the same. */
export const builtinLimits = { textLength: 4_000, queryLength: 1_000, auditMinutes: 10_080, auditRows: 50 } as const;

const common = {
  environments: ['test', 'production'],
  timeoutMs: 10_000,
  maxOutputBytes: 8_192,
  limit: null,
  comparedPreviewFields: [],
  request: null,
} as const satisfies Partial<ToolDefinition>;

/** The tools that every installation has, as policies and people see them; agent-core knows how they are called. */
export const builtinDefinitions = {
  send_to_group: {
    ...common,
    name: 'send_to_group',
    description: 'Says a text in another room. The room is one of list_rooms; the text is shown as a quotation.',
    parameters: {
      type: 'object',
      additionalProperties: false,
      required: ['room', 'text'],
      properties: {
        room: {
          type: 'string',
          pattern: '^[a-z0-9-]{1,50}$',
          description: 'Name of the room, as list_rooms says it.',
        },
        text: {
          type: 'string',
          minLength: 1,
          maxLength: builtinLimits.textLength,
          description: 'What to say, in plain text.',
        },
      },
    },
    effect: 'write',
    repeatable: false,
    // What one room can bear from all conversations together.
    limit: { calls: 10, perSeconds: 600 },
  },
  list_rooms: {
    ...common,
    name: 'list_rooms',
    description: 'Lists the rooms of this environment, by the names that send_to_group takes.',
    parameters: { type: 'object', additionalProperties: false, properties: {} },
    effect: 'read',
    repeatable: true,
    maxOutputBytes: 16_384,
  },
  recall_message: {
    ...common,
    name: 'recall_message',
    description:
      'Takes back something that Steward said in this conversation in the last 24 hours. Needs the id of the outbound message, which query_audit shows.',
    parameters: {
      type: 'object',
      additionalProperties: false,
      required: ['message'],
      properties: { message: { type: 'string', format: 'uuid', description: 'Id of the outbound message.' } },
    },
    effect: 'destructive',
    repeatable: true,
  },
  query_prometheus: {
    ...common,
    name: 'query_prometheus',
    description: 'Runs an instant PromQL query and shows the result as a short table.',
    parameters: {
      type: 'object',
      additionalProperties: false,
      required: ['query'],
      properties: {
        query: { type: 'string', minLength: 1, maxLength: builtinLimits.queryLength, description: 'PromQL.' },
        time: { type: 'string', maxLength: 40, description: 'RFC 3339 or Unix seconds; now, if absent.' },
      },
    },
    effect: 'read',
    repeatable: true,
  },
  query_audit: {
    ...common,
    name: 'query_audit',
    description: 'Shows what was recorded about this conversation in the audit log: who did what, and how it came out.',
    parameters: {
      type: 'object',
      additionalProperties: false,
      properties: {
        minutes: {
          type: 'integer',
          minimum: 1,
          maximum: builtinLimits.auditMinutes,
          description: 'How far back; 60 if absent.',
        },
        rows: {
          type: 'integer',
          minimum: 1,
          maximum: builtinLimits.auditRows,
          description: 'How many entries; 20 if absent.',
        },
      },
    },
    effect: 'read',
    repeatable: true,
    timeoutMs: 15_000,
    maxOutputBytes: 16_384,
  },
} as const satisfies Record<string, ToolDefinition>;

/** Names that no tool of a file may have; `use_skill` is how the model opens a skill. */
export const builtinToolNames: readonly string[] = [...Object.keys(builtinDefinitions), 'use_skill'];

/** The built-in tools of a configuration. What is not configured (Prometheus) is there all the same, in no environment. */
export function listBuiltinDefinitions({ prometheus }: Pick<StewardConfig['tools'], 'prometheus'>): ToolDefinition[] {
  return Object.values(builtinDefinitions).map((definition): ToolDefinition => {
    if (definition.name !== 'query_prometheus') return definition;
    return { ...definition, environments: prometheus.map(({ environment }) => environment) };
  });
}
