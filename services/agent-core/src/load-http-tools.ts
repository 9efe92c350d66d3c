import type { Environment } from '@steward/contracts';
import { describeError, readSecretFile, type StewardConfig } from '@steward/service-kit';
import { findToolHosts, readToolFiles, toolsInvalid, type HttpToolFile, type ReadToolFile } from '@steward/governance';
import type { Egress } from './egress.ts';
import { createHttpTool, type HttpToolPlace } from './http-tool.ts';
import type { Tool } from './tool.ts';

type Deps = { folder: string; config: StewardConfig['tools']; secretsDir: string; egress: Egress };

/** What a header can carry (RFC 9110, field values), without spaces at its ends. */
const headerSafe = /^[\x21-\x7e](?:[\x20-\x7e]{0,4000}[\x21-\x7e])?$/;

/**
 * The HTTP tools of a folder, one for each `*.yaml` file, in the order of their file names. Without the folder there are
 * none. AppError TOOLS_INVALID lists every fault of every file, with its place and never with a value.
 */
export async function loadHttpTools(o: Deps): Promise<readonly Tool[]> {
  const { read, faults: fileFaults } = await readToolFiles(o);
  const faults = [...fileFaults];
  const secrets = readSecrets(o, read, faults);
  if (faults.length > 0) throw toolsInvalid(o.folder, faults);
  return read.map(({ file }) => createHttpTool({ file, egress: o.egress, places: toPlaces(file, o.config, secrets) }));
}

type Secrets = ReadonlyMap<string, string>;

/** The content of every secret that some tool names, by the secret's file. What cannot be used becomes a fault. */
function readSecrets(o: Deps, read: readonly ReadToolFile[], faults: string[]): Secrets {
  const secrets = new Map<string, string>();
  for (const { fileName, file } of read) {
    for (const { secret, environment } of secretsOf(file)) {
      const entry = findEntry(o.config.secrets, secret, environment);
      if (entry === undefined || secrets.has(entry.file)) continue;
      try {
        const value = readSecretFile(o.secretsDir, entry.file);
        if (!headerSafe.test(value)) faults.push(`${fileName}: ${secret} - its file holds what no header can carry`);
        secrets.set(entry.file, value);
      } catch (error) {
        faults.push(`${fileName}: ${secret} - ${describeError(error).text}`);
      }
    }
  }
  return secrets;
}

function secretsOf({ request, preview, environments }: HttpToolFile) {
  const values = [...Object.values(request.headers), ...Object.values(preview?.request.headers ?? {})];
  const names = values.flatMap((value) => (typeof value === 'string' ? [] : [value.secret]));
  return environments.flatMap((environment) => names.map((secret) => ({ secret, environment })));
}

/** Of entries with one name, the one for this environment. */
function findEntry<T extends { name: string; environments: readonly Environment[] }>(
  entries: readonly T[],
  name: string,
  environment: Environment,
): T | undefined {
  return entries.find((entry) => entry.name === name && entry.environments.includes(environment));
}

function toPlaces(file: HttpToolFile, config: Deps['config'], contents: Secrets) {
  const places: Partial<Record<Environment, HttpToolPlace>> = {};
  const hosts = findToolHosts(file, config.hosts);
  for (const environment of file.environments) {
    const target = hosts[environment];
    if (target === undefined) continue;
    const secrets = new Map(
      secretsOf(file)
        .filter((wanted) => wanted.environment === environment)
        .map(({ secret }) => [secret, contents.get(findEntry(config.secrets, secret, environment)?.file ?? '') ?? '']),
    );
    const { host, http, private: isPrivate } = target;
    places[environment] = { target: { host, http, private: isPrivate }, secrets };
  }
  return places;
}
