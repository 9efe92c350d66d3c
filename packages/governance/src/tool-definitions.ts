import type { Environment } from '@steward/contracts';
import type { StewardConfig } from '@steward/service-kit';
import { listBuiltinDefinitions } from './builtin-definitions.ts';
import type { HttpToolFile } from './http-tool-schema.ts';
import { readToolFiles, toolsInvalid } from './read-tool-files.ts';
import type { Json, JsonObject, ToolDefinition } from './tool-definition.ts';

type ToolHost = StewardConfig['tools']['hosts'][number];

/**
 * The definitions of every tool of an installation, built-in ones first, as agent-core judges them. Secrets are not read.
 * Rejects with TOOLS_INVALID, which lists every fault of every file.
 */
export async function loadToolDefinitions(o: {
  folder: string;
  config: StewardConfig['tools'];
}): Promise<readonly ToolDefinition[]> {
  const { read, faults } = await readToolFiles(o);
  if (faults.length > 0) throw toolsInvalid(o.folder, faults);
  return [
    ...listBuiltinDefinitions(o.config),
    ...read.map(({ file }) => toHttpDefinition(file, findToolHosts(file, o.config.hosts))),
  ];
}

/** Where a tool is called in each of its environments: the host entry of its target's name. */
export function findToolHosts(
  { environments, request }: HttpToolFile,
  hosts: readonly ToolHost[],
): Partial<Record<Environment, ToolHost>> {
  return Object.fromEntries(
    environments.flatMap((environment) => {
      const found = hosts.find((host) => host.name === request.target && host.environments.includes(environment));
      return found === undefined ? [] : [[environment, found]];
    }),
  );
}

/** What a file makes of a tool: everything that a verdict or an approval depends on. */
export function toHttpDefinition(
  file: HttpToolFile,
  targets: Readonly<Partial<Record<Environment, Pick<ToolHost, 'host' | 'http' | 'private'>>>>,
): ToolDefinition {
  const { name, description, effect, repeatable, environments, timeoutMs, maxOutputBytes, limit } = file;
  const { request, response, preview = null } = file;
  const origins = Object.entries(targets).map(([environment, { host, http, private: isPrivate }]) => [
    environment,
    { origin: `${http ? 'http' : 'https'}://${host}`, private: isPrivate },
  ]);
  return {
    ...{ name, description, effect, repeatable, environments, timeoutMs, maxOutputBytes, limit },
    parameters: file.parameters,
    comparedPreviewFields: preview?.compare ?? [],
    // Through JSON, so that what is absent is absent: this is what approvals are bound to.
    request: JSON.parse(
      JSON.stringify({
        ...request,
        target: undefined,
        targets: Object.fromEntries<Json>(origins as [string, Json][]),
        response,
        preview,
      }),
    ) as JsonObject,
  };
}
