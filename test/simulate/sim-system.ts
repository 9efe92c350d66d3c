import { buildDefinition } from '../../services/agent-core/src/gate.test-support.ts';
import type { ToolBox } from '../../services/agent-core/src/gate/gate-context.ts';
import type { Tool, ToolResult } from '../../services/agent-core/src/tool.ts';
import type { SimProcess } from './scheduler.ts';
import type { World } from './world.ts';

/** A change that really happened: what the system did, for which line of a person, and when. */
export type Change = { tool: string; service: string; atMs: number };

/** The tools, with how many approvers each needs and whether these must give reasons: said here once more, not asked of the policy. */
export const writingTools = {
  restart: { effect: 'write', quorum: 1, needsReason: false },
  wipe: { effect: 'destructive', quorum: 2, needsReason: true },
} as const;
export type WritingTool = keyof typeof writingTools;

export const toolDefinitions = Object.entries(writingTools).map(([name, { effect }]) =>
  buildDefinition(name, { effect }),
);

/** The system that governed calls change. It does it, refuses it, does it and is not heard, or does nothing and is not heard. */
export function createSimSystem({ scheduler, random, now }: Pick<World, 'scheduler' | 'random' | 'now'>) {
  const changes: Change[] = [];
  const answer = (tool: string, service: string): ToolResult => {
    const chance = random();
    if (chance < 0.1) return { kind: 'failed', code: 'REFUSED', text: 'not now' };
    if (chance < 0.2) return { kind: 'unknown', code: 'RESET' };
    changes.push({ tool, service, atMs: now().getTime() });
    return chance < 0.4 ? { kind: 'unknown', code: 'TIMEOUT' } : { kind: 'done', output: 'done' };
  };
  /** The tools as one process calls them. */
  const toolsOf = (process: SimProcess): ToolBox =>
    new Map(
      toolDefinitions.map((definition): [string, Tool] => {
        const { name } = definition;
        const call = (args: Record<string, unknown>): Promise<ToolResult> =>
          scheduler.perform(
            process,
            `calls ${name} ${String(args['service'])}`,
            () => Promise.resolve(answer(name, String(args['service']))),
            { mayLoseAnswer: true },
          );
        return [name, { definition, run: { kind: 'call', call } }];
      }),
    );
  return { changes, toolsOf };
}
