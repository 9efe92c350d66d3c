import { redact, redactText, type StewardConfig } from '@steward/service-kit';
import type { HeaderTemplates, HttpToolFile } from './http-tool-schema.ts';
import { checkParameterSchema } from './parameter-schema.ts';
import { placeholdersIn, wholePlaceholder } from './placeholders.ts';
import type { JsonObject } from './tool-definition.ts';

type ToolsConfig = Pick<StewardConfig['tools'], 'hosts' | 'secrets'>;
const scalarTypes: readonly unknown[] = ['string', 'integer', 'number', 'boolean'];

/**
 * What is wrong with a tool beyond its shape: hosts, secrets, arguments that do not fit together. Each fault begins with
 * its place and never holds a value. Touches nothing but its arguments.
 */
export function findToolFaults(file: HttpToolFile, config: ToolsConfig): string[] {
  const schema = checkParameterSchema(file.parameters);
  return [
    ...(schema.ok ? [] : schema.faults.map((fault) => `parameters.${fault}`)),
    ...findTargetFaults(file, config),
    ...findHeaderFaults('request.headers', file.request.headers, file, config),
    ...findHeaderFaults('preview.request.headers', file.preview?.request.headers ?? {}, file, config),
    ...findArgumentFaults(file),
    ...findEffectFaults(file),
    ...findSecretFaults(file),
  ];
}

function findTargetFaults({ request, environments }: HttpToolFile, { hosts }: ToolsConfig): string[] {
  return environments
    .filter(
      (environment) => !hosts.some((host) => host.name === request.target && host.environments.includes(environment)),
    )
    .map((environment) => `request.target - no entry of tools.hosts has this name for environment ${environment}`);
}

function findHeaderFaults(
  where: string,
  headers: HeaderTemplates,
  { environments }: HttpToolFile,
  { secrets }: ToolsConfig,
): string[] {
  const names = Object.keys(headers).map((name) => name.toLowerCase());
  return Object.entries(headers).flatMap(([name, value], at) => {
    const twice = names.indexOf(name.toLowerCase()) < at ? [`${where}.${name} - is there twice`] : [];
    if (typeof value === 'string')
      // Whatever the log would mask, by its name or by its shape, is a secret.
      return isMasked(`${name}: ${value === '' ? 'x' : value}`)
        ? [...twice, `${where}.${name} - must name an entry of tools.secrets; no secret is written here`]
        : placeholdersIn(value).length > 0
          ? [...twice, `${where}.${name} - no argument may stand in a header`]
          : twice;
    const absent = environments.filter(
      (environment) =>
        !secrets.some((secret) => secret.name === value.secret && secret.environments.includes(environment)),
    );
    return [
      ...twice,
      ...(isMasked(value.prefix) ? [`${where}.${name}.prefix - looks like a secret`] : []),
      ...absent.map(
        (environment) => `${where}.${name} - no entry of tools.secrets has this name for environment ${environment}`,
      ),
    ];
  });
}

const isMasked = (text: string) => redactText(text) !== text;

type Place = { where: string; text: string };

/** Every argument that is asked for is declared, single where it becomes text, and required where it cannot be left out. */
function findArgumentFaults({ parameters, request, preview }: HttpToolFile): string[] {
  const properties = asObject(parameters['properties']);
  const required = Array.isArray(parameters['required']) ? parameters['required'] : [];
  const urls: Place[] = [
    { where: 'request.path', text: request.path },
    ...toPlaces('request.query', request.query),
    ...(preview ? [{ where: 'preview.request.path', text: preview.request.path }] : []),
    ...toPlaces('preview.request.query', preview?.request.query ?? {}),
  ];
  const bodies = textsIn('request.body', request.body ?? null);
  return [...urls, ...bodies].flatMap(({ where, text }) => {
    const isQuery = where.includes('.query.');
    const isWholeOfBody = where.startsWith('request.body') && wholePlaceholder(text) !== null;
    const mayBeAbsent = (isQuery || isWholeOfBody) && wholePlaceholder(text) !== null;
    const stray = /\{\{|\}\}/.test(text.replaceAll(/\{\{[A-Za-z][A-Za-z0-9_]{0,63}\}\}/g, ''));
    return [
      ...(stray ? [`${where} - has {{ or }} that name no argument`] : []),
      ...placeholdersIn(text).flatMap((name) => {
        if (!Object.hasOwn(properties, name)) return [`${where} - ${name} is not among the parameters`];
        if (!mayBeAbsent && !required.includes(name)) return [`${where} - ${name} must be a required parameter here`];
        const isScalar = scalarTypes.includes(asObject(properties[name])['type']);
        return isWholeOfBody || isScalar
          ? []
          : [`${where} - ${name} must be of type string, integer, number or boolean`];
      }),
    ];
  });
}

const toPlaces = (where: string, texts: Readonly<Record<string, string>>): Place[] =>
  Object.entries(texts).map(([name, text]) => ({ where: `${where}.${name}`, text }));

function textsIn(where: string, value: unknown): Place[] {
  if (typeof value === 'string') return [{ where, text: value }];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, part]) => [
    ...(placeholdersIn(name).length > 0 ? [{ where: `${where}.${name}`, text: '{{' }] : []),
    ...textsIn(`${where}.${name}`, part),
  ]);
}

function findEffectFaults({ effect, request, preview }: HttpToolFile): string[] {
  const { method, body } = request;
  const unselected = (preview?.compare ?? []).filter((field) => preview?.select.includes(field) !== true);
  return [
    ...(effect !== 'read' || method === 'GET' || method === 'POST' ? [] : [`request.method - ${method} is no read`]),
    ...(method === 'GET' && body !== undefined ? ['request.body - a GET has none'] : []),
    ...(effect === 'read' && preview !== undefined ? ['preview - a read changes nothing'] : []),
    ...unselected.map((field) => `preview.compare - ${field} is not among the selected fields`),
  ];
}

/** No secret in the file, and none as an argument: redaction must never hide what is approved (arguments are shown whole). */
function findSecretFaults({ parameters, request, preview }: HttpToolFile): string[] {
  const written = { body: request.body ?? null, query: request.query, previewQuery: preview?.request.query ?? {} };
  const plain = JSON.stringify(written).replaceAll(/\{\{\w+\}\}/g, '');
  const inside = [request.path, preview?.request.path ?? '', plain].some(isMasked);
  const secretNames = Object.keys(asObject(parameters['properties'])).filter((name) => {
    const masked = redact({ [name]: 'x' });
    return JSON.stringify(masked) !== JSON.stringify({ [name]: 'x' });
  });
  return [
    ...(inside ? ['request - looks as if a secret were in it; secrets are named under headers'] : []),
    ...secretNames.map((name) => `parameters.${name} - is the name of a secret, and no secret may be an argument`),
  ];
}

const asObject = (value: unknown): JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
