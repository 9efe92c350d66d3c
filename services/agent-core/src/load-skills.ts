import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { findMissing, type SkillSurroundings } from './find-missing.ts';
import { parseSkill, type Skill } from './parse-skill.ts';

/** A skill that can be used on this machine. `hash` is SHA-256 of its file in hex. */
export type LoadedSkill = Skill & { folder: string; hash: string };
/** Why a skill is not there. `where` is its folder inside the skills folder; the text repeats nothing of the file. */
export type SkillProblem = { where: string; text: string };

const fileName = 'SKILL.md';
const maxDepth = 6;
const maxSkills = 200;
/** A wrong path must not read a whole disk. */
const maxEntries = 5_000;
const maxBytes = 65_536;

/**
 * Every usable skill below the folder, by name, and what is wrong with the others: a fault costs that skill and nothing
 * else, and a folder that is not there holds no skills. A skill ends the search below it. Nothing is run, and links
 * that lead out of the folder are not followed.
 */
export function loadSkills(o: { folder: string; surroundings: SkillSurroundings }): {
  skills: LoadedSkill[];
  problems: SkillProblem[];
} {
  const { folders, problems } = findSkillFolders(o.folder);
  const skills = new Map<string, LoadedSkill>();
  for (const where of folders) {
    const loaded = loadSkill(o.folder, where);
    const fault = 'fault' in loaded ? loaded.fault : judge(loaded, skills, o.surroundings);
    if ('fault' in loaded || fault !== null) problems.push({ where, text: fault ?? '' });
    else skills.set(loaded.name, loaded);
  }
  return {
    skills: [...skills.values()].sort((one, other) => (one.name < other.name ? -1 : 1)),
    problems: problems.sort((one, other) => (one.where < other.where ? -1 : 1)),
  };
}

function judge(skill: LoadedSkill, known: ReadonlyMap<string, Skill>, surroundings: SkillSurroundings): string | null {
  if (known.has(skill.name)) return `has the name ${skill.name}, which another skill has already`;
  const missing = findMissing(skill.needs, surroundings);
  return missing.length === 0 ? null : `cannot be used here, missing: ${missing.join(', ')}`;
}

/** The folders with a SKILL.md, relative, in the order of their names, and where the search found a fault or its end. */
function findSkillFolders(root: string): { folders: string[]; problems: SkillProblem[] } {
  const folders: string[] = [];
  const problems: SkillProblem[] = [];
  const seen = new Set<string>();
  let entries = 0;
  const look = (where: string, depth: number): void => {
    const found = lookInto(root, where);
    if ('fault' in found) {
      if (found.fault !== null) problems.push({ where, text: found.fault });
      return;
    }
    entries += found.names.length;
    // Links can make a circle; a folder counts where it was met first.
    if (entries > maxEntries || seen.has(found.real)) return;
    seen.add(found.real);
    if (depth > 0 && found.names.includes(fileName)) folders.push(where);
    else if (depth < maxDepth) for (const name of found.folders) look(path.join(where, name), depth + 1);
  };
  look('.', 0);
  if (entries > maxEntries)
    problems.push({ where: '.', text: `holds more than ${maxEntries} files; some were not seen` });
  if (folders.length > maxSkills) problems.push({ where: '.', text: `holds more than ${maxSkills} skills` });
  return { folders: folders.slice(0, maxSkills), problems };
}

type Folder = { real: string; names: string[]; folders: string[] };

/** What is in a folder inside the root; no fault where there is no folder after all. */
function lookInto(root: string, where: string): Folder | { fault: string | null } {
  try {
    const real = realpathSync(path.join(root, where));
    if (!statSync(real).isDirectory()) return { fault: null };
    if (!isInside(root, real)) return { fault: 'is a link that leads out of the skills folder' };
    const inside = readdirSync(real, { withFileTypes: true });
    // What begins with a dot is version control, or the bookkeeping of a mount.
    const folders = inside
      .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
      .filter(({ name }) => !name.startsWith('.') && name !== 'node_modules');
    return { real, names: inside.map(({ name }) => name), folders: folders.map(({ name }) => name).sort() };
  } catch (cause) {
    return { fault: (cause as NodeJS.ErrnoException).code === 'ENOENT' ? null : 'cannot be read' };
  }
}

function isInside(root: string, real: string): boolean {
  const relative = path.relative(realpathSync(root), real);
  return relative !== '..' && !relative.startsWith(`..${path.sep}`) && !path.isAbsolute(relative);
}

function loadSkill(root: string, where: string): LoadedSkill | { fault: string } {
  const folder = path.join(root, where);
  const read = readSkillFile(root, path.join(folder, fileName));
  if ('fault' in read) return read;
  const parsed = parseSkill({ text: read.text, baseDir: folder });
  return 'faults' in parsed ? { fault: parsed.faults.join('; ') } : { ...parsed.skill, folder, hash: read.hash };
}

/** Reads what was checked: the file is opened at its real place, where no link can be any more. */
function readSkillFile(root: string, file: string): { text: string; hash: string } | { fault: string } {
  let handle: number | null = null;
  try {
    const real = realpathSync(file);
    if (!isInside(root, real)) return { fault: `its ${fileName} is a link that leads out of the skills folder` };
    handle = openSync(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if (!fstatSync(handle).isFile()) return { fault: `its ${fileName} is no file` };
    const bytes = Buffer.alloc(maxBytes + 1);
    const length = readUpTo(handle, bytes);
    if (length > maxBytes) return { fault: `its ${fileName} is larger than ${maxBytes} bytes` };
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length));
    return { text, hash: createHash('sha256').update(bytes.subarray(0, length)).digest('hex') };
  } catch {
    return { fault: `its ${fileName} cannot be read as UTF-8 text` };
  } finally {
    if (handle !== null) closeSync(handle);
  }
}

function readUpTo(handle: number, bytes: Buffer): number {
  let length = 0;
  while (length < bytes.length) {
    const read = readSync(handle, bytes, length, bytes.length - length, null);
    if (read === 0) break;
    length += read;
  }
  return length;
}
