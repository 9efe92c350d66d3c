import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseSkill, type Skill } from './parse-skill.ts';

const parse = (frontmatter: string, body = 'Do this.') =>
  parseSkill({ text: `---\n${frontmatter}\n---\n${body}`, baseDir: 'config/skills/x' });
const skillOf = (frontmatter: string, body?: string): Skill => {
  const parsed = parse(frontmatter, body);
  if ('faults' in parsed) throw new Error(parsed.faults.join('; '));
  return parsed.skill;
};
const faultsOf = (frontmatter: string, body?: string): string[] => {
  const parsed = parse(frontmatter, body);
  return 'faults' in parsed ? parsed.faults : [];
};
const basic = 'name: x\ndescription: Does x.';
const needs = { always: false, os: [], bins: [], anyBins: [], env: [], config: [] };

describe('a skill', () => {
  it('is a name, a description and a text, and nothing else unless it says so', () => {
    expect(skillOf(`${basic}\nlicense: MIT\nallowed-tools: [bash]`)).toEqual({
      name: 'x',
      description: 'Does x.',
      emoji: '',
      body: 'Do this.',
      userInvocable: true,
      modelInvocable: true,
      tools: [],
      parameters: [],
      steps: [],
      needs,
    });
  });

  it('knows who may use it', () => {
    const skill = skillOf(`${basic}\nuser-invocable: false\ndisable-model-invocation: true`);
    expect(skill).toMatchObject({ userInvocable: false, modelInvocable: false });
  });

  it('fills in its own folder, and shows nothing that cannot be seen', () => {
    expect(skillOf(basic, 'See {baseDir}/a and {baseDir}.\u202e\u{e0041}\r\nEnd').body).toBe(
      'See config/skills/x/a and config/skills/x.\nEnd',
    );
    expect(skillOf('name: x\ndescription: "a\\n\\u202eb"').description).toBe('a b');
  });

  it('may begin with a byte order mark and end its lines as Windows does', () => {
    const parsed = parseSkill({ text: `\ufeff---\r\nname: x\r\ndescription: d\r\n---\r\nText`, baseDir: '.' });
    expect(parsed).toMatchObject({ skill: { name: 'x', body: 'Text' } });
  });

  it.each([
    [
      'a map',
      'metadata:\n  openclaw:\n    os: [linux]\n    always: true\n    requires: { bins: [kubectl], config: [a.b] }',
    ],
    [
      'one line',
      `metadata: { 'openclaw': { os: ["linux"], always: true, requires: { bins: ['kubectl'], config: [a.b], } } }`,
    ],
    [
      'JSON in quotes',
      `metadata: '{"openclaw":{"os":["linux"],"always":true,"requires":{"bins":["kubectl"],"config":["a.b"]}}}'`,
    ],
    [
      'the old name',
      'metadata:\n  clawdbot:\n    os: [linux]\n    always: true\n    requires: { bins: [kubectl], config: [a.b] }',
    ],
  ])('says what it needs in metadata: %s', (_, metadata) => {
    expect(skillOf(`${basic}\n${metadata}`).needs).toEqual({
      ...needs,
      always: true,
      os: ['linux'],
      bins: ['kubectl'],
      config: ['a.b'],
    });
  });

  it('reads the old name only where the new one is absent', () => {
    const both = 'metadata: { openclaw: { os: [linux] }, clawdbot: { os: [darwin] } }';
    expect(skillOf(`${basic}\n${both}`).needs.os).toEqual(['linux']);
  });

  it('keeps its parameters and steps, and needs the tools of its steps', () => {
    const skill = skillOf(
      `${basic}\ntools: [a_tool]\nparameters: [{ name: service }, { name: n, type: integer, default: 2 }]
steps:\n  - tool: b_tool\n    title: 'State of {{service}}'\n    arguments: { service: '{{service}}', n: '{{ n }}' }`,
    );
    expect(skill.tools).toEqual(['a_tool', 'b_tool']);
    expect(skill.parameters).toEqual([
      { name: 'service', description: '', type: 'string', required: true, default: null },
      { name: 'n', description: '', type: 'integer', required: false, default: 2 },
    ]);
    expect(skill.steps).toHaveLength(1);
  });
});

describe('a skill is refused', () => {
  it.each(['Just text', '', '---\nname: x', 'x\n---\nname: x\n---\n'])('without frontmatter: %j', (text) => {
    expect(parseSkill({ text, baseDir: '.' })).toEqual({ faults: [expect.stringContaining('frontmatter')] });
  });

  it.each([
    ['without a name', 'description: d', 'name - '],
    ['without a description', 'name: x', 'description - '],
    ['with an empty description', 'name: x\ndescription: " "', 'description - is required'],
    ['with capitals in its name', 'name: Secret-X\ndescription: d', 'name - must be lower-case'],
    ['with a path as its name', 'name: ../x\ndescription: d', 'name - must be lower-case'],
    ['with a key twice', `${basic}\nname: y`, 'YAML'],
    ['with text that is no YAML', `${basic}\n\t- [`, 'YAML'],
    ['with a list instead of a map', '- a', 'YAML map'],
    ['with a prototype', `${basic}\nx: { __proto__: { a: 1 } }`, 'YAML map'],
    ['with a bomb of aliases', `${basic}\na: &a [1,2]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\nd: [*c,*c,*c]`, 'YAML map'],
    ['with a nest too deep', `${basic}\na: ${'['.repeat(3_000)}${']'.repeat(3_000)}`, 'YAML map'],
    ['with a frontmatter too long', `${basic}\na: ${'x'.repeat(17_000)}`, 'more than 16384'],
    [
      'with a program that is a path',
      `${basic}\nmetadata: { openclaw: { requires: { bins: [/bin/sh] } } }`,
      'requires.bins.0 - ',
    ],
    ['with conditions that YAML would overlook', `${basic}\nmetadata: '{openclaw:{always:true}}'`, 'metadata - '],
    ['with metadata that is a list', `${basic}\nmetadata: [1]`, 'metadata - '],
    ['with a text as a switch', `${basic}\nuser-invocable: "no"`, 'user-invocable - '],
    ['with a tool of no name', `${basic}\ntools: [Rm-Rf]`, 'tools.0 - '],
    ['with an unknown key in a step', `${basic}\nsteps: [{ tool: a, approve: true }]`, 'steps.0 - '],
    ['with arguments that are a list', `${basic}\nsteps: [{ tool: a, arguments: [1] }]`, 'steps.0.arguments - '],
    ['with arguments that JSON has not', `${basic}\nsteps: [{ tool: a, arguments: { n: .inf } }]`, 'YAML map'],
    [
      'with arguments too long',
      `${basic}\nsteps: [{ tool: a, arguments: { n: ${'x'.repeat(4_001)} } }]`,
      'steps.0.arguments - ',
    ],
    ['with more steps than it may have', `${basic}\nsteps: [${'{ tool: a },'.repeat(9)}]`, 'steps - '],
    ['with a placeholder of no parameter', `${basic}\nsteps: [{ tool: a, arguments: { n: '{{who}}' } }]`, 'steps.0 - '],
    ['with a placeholder of no parameter in a title', `${basic}\nsteps: [{ tool: a, title: 'x {{}}' }]`, 'steps.0 - '],
    ['with a parameter twice', `${basic}\nparameters: [{ name: a }, { name: a }]`, 'parameters.1 - '],
    [
      'with a default of another type',
      `${basic}\nparameters: [{ name: a, type: integer, default: "1" }]`,
      'parameters.0.default - ',
    ],
    [
      'with a text that changes its meaning when an optional parameter is not given',
      `${basic}\nparameters: [{ name: a, required: false }]\nsteps: [{ tool: t, arguments: { q: 'x{{a}}' } }]`,
      'steps.0 - an optional parameter',
    ],
  ])('%s', (_, frontmatter, fault) => {
    expect(faultsOf(frontmatter)).toContainEqual(expect.stringContaining(fault));
    expect(faultsOf(frontmatter).join()).not.toContain('Secret-X');
  });

  it('with a text too long for one result', () => {
    expect(faultsOf(basic, 'x'.repeat(12_001))).toEqual([expect.stringContaining('more than 12000')]);
    expect(faultsOf(basic, 'x'.repeat(12_000))).toEqual([]);
  });

  it('or read, and never thrown at, whatever the file holds', () => {
    const front = fc.array(
      fc.oneof(
        fc.constantFrom(
          'name: x\n',
          'description: d\n',
          'metadata:',
          ' {openclaw: ',
          '}',
          'steps: [',
          ']',
          '&a ',
          '*a ',
          '? ',
          '!!js ',
          '<<: ',
        ),
        fc.string({ unit: 'binary', maxLength: 8 }),
      ),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(front, (parts) => {
        const parsed = parse(parts.join(''));
        expect('faults' in parsed ? parsed.faults.length : 1).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });
});
