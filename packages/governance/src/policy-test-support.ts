import { buildPolicy, type JudgedTool, type JudgeInput, type Policy } from './index.ts';

/** A tool without arguments unless given. */
export function toolNamed(name: string, change: Partial<JudgedTool> = {}): JudgedTool {
  return {
    name,
    effect: 'write',
    repeatable: false,
    environments: ['test', 'production'],
    parameters: { type: 'object', additionalProperties: false },
    ...change,
  };
}

export const look = toolNamed('look', { effect: 'read' });
export const scale = toolNamed('scale', {
  parameters: {
    type: 'object',
    additionalProperties: false,
    required: ['service'],
    properties: {
      service: { type: 'string' },
      replicas: { type: 'integer' },
      force: { type: 'boolean' },
      hosts: { type: 'array', items: { type: 'string' } },
      share: { type: 'number' },
    },
  },
});

/** A policy set of one file. */
export function policyOf(text: string, tools: readonly JudgedTool[] = [look, scale]): Policy {
  return buildPolicy({ files: [{ name: 'own.cedar', text }], tools });
}

/** A call of `scale` in a production room at 10:05 on Wednesday, unless changed. */
export function inputWith(change: Partial<JudgeInput> & { roles?: readonly string[] } = {}): JudgeInput {
  const { roles = ['ops'], ...rest } = change;
  return {
    principal: { corpId: 'ding1', staffId: 'li', roles },
    tool: scale,
    arguments: { service: 'web' },
    environment: 'production',
    robot: 'ops',
    room: 'ops-room',
    lane: 'answer',
    audited: true,
    now: new Date('2026-01-07T10:05:00+08:00'),
    timeZone: 'Asia/Shanghai',
    calendar: [],
    ...rest,
  };
}

/** A permit that asks, with annotations of its own. */
export function askPermit(annotations: string, condition = ''): string {
  return `${annotations}\npermit (principal, action in Steward::Action::"callWithApproval", resource) ${condition};\n`;
}

export const ASK = '@approvers("approver") @quorum("1") @expires("15m") @run_within("10m")';
export const CALL = 'permit (principal, action in Steward::Action::"call", resource)';
