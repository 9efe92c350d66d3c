import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { AppError, describeError, redactText, type StewardConfig } from '@steward/service-kit';
import { LineCounter, parseDocument } from 'yaml';
import { builtinToolNames } from './builtin-definitions.ts';
import { findToolFaults } from './check-http-tool.ts';
import { httpToolSchema, type HttpToolFile } from './http-tool-schema.ts';

type ToolsConfig = Pick<StewardConfig['tools'], 'hosts' | 'secrets'>;
export type ReadToolFile = { fileName: string; file: HttpToolFile };

const maxFiles = 200;
const maxFileBytes = 65_536;

/**
 * The checked files of a tools folder, one HTTP tool for each `*.yaml`, in the order of their names, and every fault of every
 * file, with its place and never with a value. Without the folder there are none. Secrets are not looked at. Rejects with
 * TOOLS_INVALID when the folder itself cannot be used.
 */
export async function readToolFiles(o: {
  folder: string;
  config: ToolsConfig;
}): Promise<{ read: readonly ReadToolFile[]; faults: readonly string[] }> {
  const faults: string[] = [];
  const read: ReadToolFile[] = [];
  for (const fileName of await listFiles(o.folder)) {
    const found = await readTool(o, fileName);
    if (Array.isArray(found)) faults.push(...found.map((fault) => `${fileName}: ${fault}`));
    else read.push({ fileName, file: found });
  }
  return { read, faults: [...faults, ...findNameFaults(read)] };
}

/** The error of a tools folder that cannot be used, with every fault. */
export function toolsInvalid(folder: string, faults: readonly string[]): AppError {
  const shown = faults.map((fault) => redactText(fault));
  return new AppError('TOOLS_INVALID', `${folder}:\n  ${shown.join('\n  ')}`, {
    retryable: false,
    details: { folder, faults: shown },
  });
}

async function listFiles(folder: string): Promise<string[]> {
  try {
    const names = (await readdir(folder)).filter((name) => /^[^.].*\.ya?ml$/.test(name)).sort();
    if (names.length > maxFiles) throw toolsInvalid(folder, [`there are more than ${maxFiles} files`]);
    return names;
  } catch (error) {
    if (describeError(error).code === 'ENOENT') return [];
    if (error instanceof AppError) throw error;
    throw toolsInvalid(folder, [`cannot be read (${describeError(error).code})`]);
  }
}

/** The tool of a file, or what is wrong with it. */
async function readTool(
  { folder, config }: { folder: string; config: ToolsConfig },
  fileName: string,
): Promise<HttpToolFile | string[]> {
  const text = await readText(path.join(folder, fileName));
  if (typeof text !== 'string') return [text.fault];
  const yaml = parseYaml(text);
  if ('faults' in yaml) return yaml.faults;
  const parsed = httpToolSchema.safeParse(yaml.value);
  if (parsed.success) {
    const faults = findToolFaults(parsed.data, config);
    return faults.length === 0 ? parsed.data : faults;
  }
  return parsed.error.issues.flatMap((issue) => {
    const where = issue.path.map(String).join('.');
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => `${[where, key].filter((part) => part !== '').join('.')} - unknown key`);
    return [`${where === '' ? 'the file' : where} - ${issue.message}`];
  });
}

async function readText(file: string): Promise<string | { fault: string }> {
  try {
    const { size } = await stat(file);
    return size > maxFileBytes ? { fault: `is larger than ${maxFileBytes} bytes` } : await readFile(file, 'utf8');
  } catch (error) {
    return { fault: `cannot be read (${describeError(error).code})` };
  }
}

function parseYaml(text: string): { value: unknown } | { faults: string[] } {
  const lines = new LineCounter();
  // prettyErrors would quote the faulty line, and with it a value.
  const yaml = parseDocument(text, { prettyErrors: false, lineCounter: lines });
  if (yaml.errors.length > 0)
    return { faults: yaml.errors.map(({ pos, code }) => `line ${lines.linePos(pos[0]).line} - not YAML (${code})`) };
  try {
    return { value: yaml.toJS({ maxAliasCount: 50 }) };
  } catch {
    return { faults: ['too many YAML aliases'] };
  }
}

function findNameFaults(read: readonly ReadToolFile[]): string[] {
  return read.flatMap(({ fileName, file }, at) => {
    const first = read.findIndex((other) => other.file.name === file.name);
    if (first < at) return [`${fileName}: name - is the same as in ${read[first]?.fileName ?? 'another file'}`];
    return builtinToolNames.includes(file.name) ? [`${fileName}: name - is the name of a built-in tool`] : [];
  });
}
