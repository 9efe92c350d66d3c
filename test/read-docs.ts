import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

export const root = path.join(import.meta.dirname, '..');
const foreign = ['**/node_modules/**', '.toolchain/**', 'data/**', 'secrets/**', 'coverage/**', '.test-servers/**'];

/** Paths of the files of the repository that match, sorted. */
export function listFiles(...patterns: string[]): string[] {
  return globSync(patterns, { cwd: root, exclude: foreign }).sort();
}

export const readText = (file: string): string => readFileSync(path.join(root, file), 'utf8');

/** The product's own sources: neither tests nor what only tests and the demo's DingTalk are made of. */
export function readSources(): string {
  const files = listFiles('packages/*/src/**/*.ts', 'services/*/src/**/*.ts', 'deploy/demo/src/**/*.ts');
  const notProduct =
    /\.test\.ts$|test-support|\/testing\.ts$|bus-contract|-bench|wiretap|packages\/(testkit|dingtalk-simulator)\//;
  return files.flatMap((file) => (notProduct.test(file) ? [] : readText(file))).join('\n');
}

/** The text between a heading (its whole line) and the next one of the same or a higher level. */
export function sectionOf(text: string, heading: string): string {
  const lines = text.split('\n');
  const start = lines.indexOf(heading);
  if (start < 0) throw new Error(`there is no heading "${heading}"`);
  const level = heading.indexOf(' ');
  const end = lines.findIndex((line, at) => at > start && /^#+ /.test(line) && line.indexOf(' ') <= level);
  return lines.slice(start + 1, end < 0 ? undefined : end).join('\n');
}

/** The rows of every table in a text, as trimmed cells, without heads and rules. */
export function rowsOf(text: string): string[][] {
  const isRow = (line: string | undefined) => line?.startsWith('|') ?? false;
  const lines = text.split('\n');
  return lines
    .filter((line, at) => isRow(line) && isRow(lines[at - 1]) && !/^\|[\s|:-]+\|$/.test(line))
    .map((line) => line.split('|').slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim()));
}

/** What stands in backticks. */
export const codesIn = (text = ''): string[] => [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);

/** The names in the first cells of the tables of a text. */
export const namesIn = (text: string): string[] => rowsOf(text).flatMap(([first]) => codesIn(first));

/** The blocks of a language (`sh`, `sql`; '' for none), without their fences. */
export function blocksOf(text: string, language: string): string[] {
  const fences = text.matchAll(/^ *```(\w*)\n([\s\S]*?)^ *```$/gm);
  return [...fences].flatMap(([, name, block = '']) => (name === language ? [block] : []));
}

export const withoutBlocks = (text: string): string => text.replace(/^ *```[\s\S]*?^ *```$/gm, '');

/** How the anchor of a heading reads on the usual forges. */
export const toAnchor = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-');
