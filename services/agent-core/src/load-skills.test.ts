import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  createSurroundings,
  findMissing,
  findMissingTools,
  findUsableSkills,
  type SkillSurroundings,
} from './find-missing.ts';
import { loadSkills } from './load-skills.ts';
import { buildSkillCalls } from './skill-steps.ts';
import { buildSkillTool, listModelSkills, readSkill } from './skill-tool.ts';

let root: string;
let folder: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'steward-skills-'));
  folder = path.join(root, 'skills');
  mkdirSync(folder);
});
afterEach(() => rmSync(root, { recursive: true }));

const nowhere: SkillSurroundings = {
  platform: 'linux',
  hasProgram: () => false,
  hasVariable: () => false,
  isConfigured: () => false,
};
const textOf = (name: string, more = '') =>
  `---\nname: ${name}\ndescription: Does ${name}.\n${more}\n---\nText of ${name}.`;
const write = (where: string, text: string) => {
  mkdirSync(path.join(folder, where), { recursive: true });
  writeFileSync(path.join(folder, where, 'SKILL.md'), text);
};
const load = (surroundings = nowhere) => loadSkills({ folder, surroundings });
const namesOf = ({ skills }: ReturnType<typeof load>) => skills.map(({ name }) => name);

describe('the skills folder', () => {
  it('holds skills up to six folders deep, and none below another one', () => {
    write('a', textOf('a'));
    write('a/below', textOf('below'));
    write('1/2/3/4/5/6', textOf('deep'));
    write('1/2/3/4/5/no/7', textOf('too-deep'));
    write('.git/x', textOf('hidden'));
    expect(load()).toMatchObject({ skills: [{ name: 'a' }, { name: 'deep' }], problems: [] });
  });

  it('may be absent, and its own SKILL.md is no skill', () => {
    expect(loadSkills({ folder: path.join(root, 'none'), surroundings: nowhere })).toEqual({
      skills: [],
      problems: [],
    });
    writeFileSync(path.join(folder, 'SKILL.md'), textOf('whole'));
    write('a', textOf('a'));
    expect(namesOf(load())).toEqual(['a']);
  });

  it('loses one skill to a fault, and says which', () => {
    write('bad', '---\nname: bad\n---\n');
    write('good', textOf('good'));
    write('twin', textOf('good'));
    write('large', textOf('large') + 'x'.repeat(70_000));
    write('latin', '');
    writeFileSync(path.join(folder, 'latin/SKILL.md'), Buffer.from([0x2d, 0xff]));
    mkdirSync(path.join(folder, 'folder/SKILL.md'), { recursive: true });
    const loaded = load();
    expect(namesOf(loaded)).toEqual(['good']);
    expect(loaded.problems.map(({ where, text }) => `${where}: ${text}`)).toEqual([
      expect.stringMatching(/^bad: description - /),
      'folder: its SKILL.md is no file',
      'large: its SKILL.md is larger than 65536 bytes',
      'latin: its SKILL.md cannot be read as UTF-8 text',
      'twin: has the name good, which another skill has already',
    ]);
  });

  it('follows no link that leads out of it, and no circle', () => {
    mkdirSync(path.join(root, 'outside'));
    writeFileSync(path.join(root, 'outside/SKILL.md'), textOf('outside'));
    mkdirSync(path.join(root, 'skills-outside'));
    writeFileSync(path.join(root, 'skills-outside/SKILL.md'), textOf('neighbour'));
    symlinkSync('../outside', path.join(folder, 'linked'));
    symlinkSync('../skills-outside', path.join(folder, 'neighbour'));
    mkdirSync(path.join(folder, 'file'));
    symlinkSync('../../outside/SKILL.md', path.join(folder, 'file/SKILL.md'));
    mkdirSync(path.join(folder, 'round'));
    symlinkSync('..', path.join(folder, 'round/again'));
    symlinkSync('../..', path.join(folder, 'file-up'));
    symlinkSync('..', path.join(folder, 'up'));
    symlinkSync('nothing', path.join(folder, 'dangling'));
    const { skills, problems } = load();
    expect(skills).toEqual([]);
    expect(problems).toEqual([
      { where: 'file', text: 'its SKILL.md is a link that leads out of the skills folder' },
      { where: 'file-up', text: 'is a link that leads out of the skills folder' },
      { where: 'linked', text: 'is a link that leads out of the skills folder' },
      { where: 'neighbour', text: 'is a link that leads out of the skills folder' },
      { where: 'up', text: 'is a link that leads out of the skills folder' },
    ]);
  });

  it('may be mounted as Kubernetes does, with links inside', () => {
    mkdirSync(path.join(folder, '..data/a'), { recursive: true });
    writeFileSync(path.join(folder, '..data/a/SKILL.md'), textOf('a'));
    symlinkSync('..data/a', path.join(folder, 'a'));
    symlinkSync('skills', path.join(root, 'mounted'));
    expect(namesOf(loadSkills({ folder: path.join(root, 'mounted'), surroundings: nowhere }))).toEqual(['a']);
  });

  it('is not read without end', () => {
    for (let n = 0; n < 205; n += 1) write(`s${String(n).padStart(3, '0')}`, textOf(`s${n}`));
    const many = load();
    expect(many.skills).toHaveLength(200);
    expect(many.problems).toEqual([{ where: '.', text: 'holds more than 200 skills' }]);
    mkdirSync(path.join(folder, 'a'));
    for (let n = 0; n < 5_000; n += 1) writeFileSync(path.join(folder, 'a', String(n)), '');
    expect(load().problems).toContainEqual({ where: '.', text: expect.stringContaining('more than 5000 files') });
  });

  it('gives a skill another hash when its file changes', () => {
    write('a', textOf('a'));
    const [before] = load().skills;
    expect(load().skills).toEqual([before]);
    write('a', `${textOf('a')} `);
    expect(load().skills[0]?.hash).not.toBe(before?.hash);
  });
});

describe('what a skill needs', () => {
  const metadata = (text: string) => `metadata: { openclaw: ${text} }`;

  it.each([
    ['os', '{ os: [darwin, win32] }', 'operating system darwin or win32'],
    ['a system although always', '{ always: true, os: [darwin] }', 'operating system darwin'],
    ['programs', '{ requires: { bins: [kubectl, helm] } }', 'program kubectl, program helm'],
    ['any of some programs', '{ requires: { anyBins: [podman, docker] } }', 'program podman or docker'],
    ['a variable', '{ requires: { env: [API_KEY] } }', 'environment variable API_KEY'],
    ['a setting', '{ requires: { config: [model.name] } }', 'configuration model.name'],
  ])('keeps it away where it is missing: %s', (_, gate, missing) => {
    write('a', textOf('a', metadata(gate)));
    expect(load()).toEqual({
      skills: [],
      problems: [{ where: 'a', text: `cannot be used here, missing: ${missing}` }],
    });
  });

  it('counts for nothing where it says always, and is satisfied where all is there', () => {
    write('a', textOf('a', metadata('{ always: true, os: [linux], requires: { bins: [kubectl] } }')));
    write('b', textOf('b', metadata('{ requires: { bins: [sh], anyBins: [no, sh], env: [HOME], config: [a.b] } }')));
    const all = {
      ...nowhere,
      hasProgram: (name: string) => name === 'sh',
      hasVariable: () => true,
      isConfigured: () => true,
    };
    expect(namesOf(load(all))).toEqual(['a', 'b']);
  });

  it('is looked up without running or revealing anything', () => {
    const program = path.join(root, 'program');
    const witness = path.join(root, 'was-run');
    writeFileSync(program, `#!/bin/sh\ntouch ${witness}\n`);
    writeFileSync(path.join(root, 'plain'), '');
    chmodSync(program, 0o755);
    mkdirSync(path.join(root, 'a-folder'));
    const around = createSurroundings({
      platform: 'linux',
      env: { PATH: `relative:${path.join(root, 'none')}:${root}`, SET: 'x', EMPTY: '' },
      config: { model: { name: 'qwen' }, tools: { hosts: [], secrets: [1] }, off: false, on: true },
    });
    expect(['program', 'plain', 'a-folder', 'none'].map(around.hasProgram)).toEqual([true, false, false, false]);
    expect(existsSync(witness)).toBe(false);
    expect(['SET', 'EMPTY', 'OTHER'].map(around.hasVariable)).toEqual([true, false, false]);
    const paths = [
      'on',
      'off',
      'model',
      'model.name',
      'tools.hosts',
      'tools.secrets',
      'constructor',
      'on.length',
      'a.b',
    ];
    expect(paths.map(around.isConfigured)).toEqual([true, false, true, true, false, true, false, false, false]);
  });

  it('may be tools, of which it gets none by naming them', () => {
    write('a', textOf('a', 'tools: [list_services]\nsteps: [{ tool: delete_service }]'));
    const skill = load().skills[0]!;
    expect(findMissingTools(skill, new Set(['list_services']))).toEqual(['delete_service']);
    expect(findMissingTools(skill, new Set(['list_services', 'delete_service']))).toEqual([]);
    expect(findMissing(skill.needs, nowhere)).toEqual([]);
    const tools = [{ name: 'list_services' }, { name: 'delete_service' }];
    expect(findUsableSkills([skill], tools)).toEqual([skill]);
    expect(findUsableSkills([skill], tools.slice(1))).toEqual([]);
  });
});

describe('the model', () => {
  it('is told names and descriptions, and gets the text of a skill it may use', () => {
    write('a', textOf('a'));
    write('people-only', textOf('people-only', 'disable-model-invocation: true'));
    write('empty', '---\nname: empty\ndescription: d\n---\n');
    const { skills } = load();
    expect(listModelSkills(skills)).toEqual([{ name: 'a', description: 'Does a.' }]);
    expect(readSkill(skills, 'a')).toBe('Text of a.');
    for (const name of ['people-only', 'empty', 'b', '', null, undefined, { name: 'a' }, '../a'])
      expect(readSkill(skills, name)).toBeNull();
    expect(buildSkillTool(listModelSkills(skills))).toMatchObject({
      name: 'use_skill',
      parameters: { properties: { name: { enum: ['a'] } }, additionalProperties: false },
      judged: 'allow',
    });
  });
});

describe('the shipped skills', () => {
  const shipped = loadSkills({
    folder: path.join(import.meta.dirname, '../../../config/skills'),
    surroundings: nowhere,
  });

  it('load without a fault and can be used by people and the model', () => {
    expect(shipped.problems).toEqual([]);
    expect(namesOf(shipped)).toEqual(['deploy-status', 'incident-triage', 'oncall-handover']);
    expect(listModelSkills(shipped.skills)).toHaveLength(3);
  });

  it('have steps that only look', () => {
    const looks = ['list_services', 'service_status', 'list_rooms'];
    for (const skill of shipped.skills) {
      const typed = Object.fromEntries(skill.parameters.map(({ name }) => [name, 'web']));
      const built = buildSkillCalls(skill, typed);
      expect(built).toMatchObject({ kind: 'calls' });
      expect(findMissingTools(skill, new Set(looks))).toEqual([]);
    }
    expect(buildSkillCalls(shipped.skills[0]!, { service: 'web' })).toMatchObject({
      calls: [{ tool: 'service_status', title: 'State of web', arguments: { service: 'web' } }],
    });
  });
});
