import type { ActionType, NamespaceDefinition, SchemaJson, TypeOfAttribute } from '@cedar-policy/cedar-wasm/nodejs';
import { toCedarType, toShape, type InvisibleArgument, type Shape } from './argument-shape.ts';
import type { ToolDefinition } from './tool-definition.ts';

/** The two questions, and the groups of actions that policies name them by. */
export const ACTION_GROUPS = ['call', 'callWithApproval'] as const;
export type ActionGroup = (typeof ACTION_GROUPS)[number];

/** The action of asking one of the questions about one tool. */
export const actionOf = (group: ActionGroup, tool: string): string => `${group} ${tool}`;

/** What of a tool the judge needs. */
export type JudgedTool = Pick<ToolDefinition, 'name' | 'effect' | 'repeatable' | 'environments' | 'parameters'>;

export type BuiltSchema = {
  schema: SchemaJson<string>;
  shapes: ReadonlyMap<string, Shape>;
  invisibleArguments: readonly (InvisibleArgument & { tool: string })[];
};

/**
 * Cedar's schema for these tools: every action has the whole context (note C1), and its own tool's arguments as far as Cedar
 * can see them (note C3). Names must be unique.
 */
export function buildSchema(tools: readonly JudgedTool[]): BuiltSchema {
  const shaped = tools.map((tool) => ({ tool: tool.name, ...toShape(tool.parameters) }));
  const actions = shaped.flatMap(({ tool, shape }) =>
    ACTION_GROUPS.map((group): [string, ActionType<string>] => [actionOf(group, tool), actionType(group, shape)]),
  );
  return {
    schema: {
      Steward: {
        entityTypes,
        actions: { ...Object.fromEntries(ACTION_GROUPS.map((group) => [group, {}])), ...Object.fromEntries(actions) },
      },
    },
    shapes: new Map(shaped.map(({ tool, shape }) => [tool, shape])),
    invisibleArguments: shaped.flatMap(({ tool, invisible }) => invisible.map((found) => ({ tool, ...found }))),
  };
}

const text = { type: 'String' } as const;
const long = { type: 'Long' } as const;
const entity = (name: string) => ({ type: 'Entity', name }) as const;
const record = (attributes: Record<string, TypeOfAttribute<string>>) => ({ type: 'Record', attributes }) as const;

const entityTypes: NamespaceDefinition<string>['entityTypes'] = {
  Environment: {},
  Role: {},
  Room: { memberOfTypes: ['Environment'] },
  Robot: { memberOfTypes: ['Environment'] },
  User: { memberOfTypes: ['Role'], shape: record({ corpId: text, staffId: text }) },
  Tool: {
    memberOfTypes: ['Environment'],
    shape: record({ name: text, effect: text, repeatable: { type: 'Boolean' } }),
  },
};

function actionType(group: ActionGroup, args: Shape): ActionType<string> {
  const context = record({
    environment: entity('Environment'),
    robot: entity('Robot'),
    room: { ...entity('Room'), required: false },
    lane: text,
    audited: { type: 'Boolean' },
    time: record({ hour: long, minute: long, weekday: long, date: long }),
    calendar: { type: 'Set', element: text },
    arguments: toCedarType(args),
  });
  return { memberOf: [{ id: group }], appliesTo: { principalTypes: ['User'], resourceTypes: ['Tool'], context } };
}
