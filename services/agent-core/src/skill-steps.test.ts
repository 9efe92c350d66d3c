import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseSkill, type Skill } from './parse-skill.ts';
import { buildSkillCalls } from './skill-steps.ts';

const skillOf = (frontmatter: string): Skill => {
  const parsed = parseSkill({ text: `---\nname: x\ndescription: d\n${frontmatter}\n---\n`, baseDir: '.' });
  if ('faults' in parsed) throw new Error(parsed.faults.join('; '));
  return parsed.skill;
};
const scaling = skillOf(`
parameters:
  - name: service
  - { name: replicas, type: integer, default: 2 }
  - { name: factor, type: number, required: false }
  - { name: dry, type: boolean, required: false }
steps:
  - tool: service_status
    title: 'State of {{service}}'
    arguments: { service: '{{service}}', query: 'up{job="{{service}}"} > {{replicas}}', fixed: [1, null, '{{factor}}'] }
  - tool: scale_service
    arguments: { service: '{{ service }}', replicas: '{{replicas}}', nested: { dry: '{{dry}}' } }
`);

describe('the fixed steps of a skill', () => {
  it('become calls with what a person typed, each value of its type', () => {
    expect(buildSkillCalls(scaling, { service: 'web', replicas: '5', factor: '1.5', dry: 'true' })).toEqual({
      kind: 'calls',
      calls: [
        {
          tool: 'service_status',
          title: 'State of web',
          arguments: { service: 'web', query: 'up{job="web"} > 5', fixed: [1, null, 1.5] },
        },
        { tool: 'scale_service', title: '', arguments: { service: 'web', replicas: 5, nested: { dry: true } } },
      ],
    });
  });

  it('leave out what is optional and was not given', () => {
    expect(buildSkillCalls(scaling, { service: 'web' })).toMatchObject({
      calls: [
        { arguments: { query: 'up{job="web"} > 2', fixed: [1, null] } },
        { arguments: { service: 'web', replicas: 2, nested: {} } },
      ],
    });
  });

  it('take nothing that was not typed for a parameter', () => {
    const skill = skillOf(
      `parameters: [{ name: constructor }]\nsteps: [{ tool: t, arguments: { a: '{{constructor}}' } }]`,
    );
    expect(buildSkillCalls(skill, {})).toEqual({
      kind: 'faults',
      faults: [{ kind: 'missing_parameter', name: 'constructor' }],
    });
  });

  it('name everything that is wrong at once', () => {
    expect(buildSkillCalls(scaling, { Service: 'web', replicas: '1e3', dry: 'yes', constructor: 'x' })).toEqual({
      kind: 'faults',
      faults: [
        { kind: 'unknown_parameter', name: 'Service' },
        { kind: 'unknown_parameter', name: 'constructor' },
        { kind: 'missing_parameter', name: 'service' },
        { kind: 'unfit_value', name: 'replicas', type: 'integer' },
        { kind: 'unfit_value', name: 'dry', type: 'boolean' },
      ],
    });
  });

  it.each(['', '1.5', '0x10', ' 5', '9007199254740993', '５'])('take %j for no integer', (replicas) => {
    expect(buildSkillCalls(scaling, { service: 'web', replicas })).toMatchObject({ kind: 'faults' });
  });

  it.each(['a\nb', 'a\u0000', 'x'.repeat(501)])('take no value with line breaks or of any length: %j', (service) => {
    expect(buildSkillCalls(scaling, { service })).toMatchObject({ kind: 'faults' });
  });

  it('are not there in a skill that is only text', () => {
    expect(buildSkillCalls(skillOf(''), {})).toEqual({ kind: 'faults', faults: [{ kind: 'no_steps' }] });
  });

  it('fill in a value as it is: no placeholder, quotation or pattern in it means anything', () => {
    const names = fc.constantFrom('{{replicas}}', '{{service}}', '$&', '"', '\\', '{', '}', '../', 'web', '__proto__');
    fc.assert(
      fc.property(fc.array(names, { minLength: 1, maxLength: 6 }), (parts) => {
        const service = parts.join('');
        const built = buildSkillCalls(scaling, { service });
        expect(built).toMatchObject({
          calls: [{ title: `State of ${service}`, arguments: { service } }, { arguments: { service, replicas: 2 } }],
        });
      }),
    );
  });
});
