import { accessSync, constants, statSync } from 'node:fs';
import path from 'node:path';
import { isJsonObject } from './is-plain-json.ts';
import type { SkillNeeds } from './parse-skill.ts';

/** What a skill may ask about where it is: presence alone, never a value. */
export type SkillSurroundings = {
  /** As Node names it: linux, darwin, win32. */
  platform: string;
  hasProgram: (name: string) => boolean;
  hasVariable: (name: string) => boolean;
  isConfigured: (dottedPath: string) => boolean;
};

/** The surroundings of this process. Programs are looked up in the folders of PATH; none is run. */
export function createSurroundings(o: {
  config: object;
  env: Readonly<Record<string, string | undefined>>;
  platform: string;
}): SkillSurroundings {
  const folders = (o.env['PATH'] ?? '').split(path.delimiter).filter((folder) => path.isAbsolute(folder));
  return {
    platform: o.platform,
    hasProgram: (name) => folders.some((folder) => isProgram(path.join(folder, name))),
    hasVariable: (name) => (o.env[name] ?? '') !== '',
    isConfigured: (dottedPath) => isSet(findIn(o.config, dottedPath.split('.'))),
  };
}

/** What is missing for a skill to be used here, each as a few words for people; empty when nothing is. */
export function findMissing(needs: SkillNeeds, around: SkillSurroundings): string[] {
  const wrongSystem =
    needs.os.length > 0 && !needs.os.includes(around.platform) ? [`operating system ${needs.os.join(' or ')}`] : [];
  if (needs.always) return wrongSystem;
  const anyMissing = needs.anyBins.length > 0 && !needs.anyBins.some((name) => around.hasProgram(name));
  return [
    ...wrongSystem,
    ...needs.bins.filter((name) => !around.hasProgram(name)).map((name) => `program ${name}`),
    ...(anyMissing ? [`program ${needs.anyBins.join(' or ')}`] : []),
    ...needs.env.filter((name) => !around.hasVariable(name)).map((name) => `environment variable ${name}`),
    ...needs.config.filter((name) => !around.isConfigured(name)).map((name) => `configuration ${name}`),
  ];
}

/** The tools that a skill names and that are not among these: where one is missing, the skill is not offered. */
export function findMissingTools(skill: { tools: readonly string[] }, tools: ReadonlySet<string>): string[] {
  return skill.tools.filter((tool) => !tools.has(tool));
}

/** The skills all of whose tools are among these. */
export function findUsableSkills<S extends { tools: readonly string[] }>(
  skills: readonly S[],
  tools: readonly { name: string }[],
): S[] {
  const names = new Set(tools.map(({ name }) => name));
  return skills.filter((skill) => findMissingTools(skill, names).length === 0);
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

/** Own values only: a path must not find what every object has. */
function findIn(value: unknown, names: readonly string[]): unknown {
  const [name, ...rest] = names;
  if (name === undefined) return value;
  return isJsonObject(value) && Object.hasOwn(value, name) ? findIn(value[name], rest) : undefined;
}

/** OpenClaw asks whether a value is truthy; a list without entries counts as not set, too. */
const isSet = (value: unknown) => (Array.isArray(value) ? value.length > 0 : Boolean(value));
