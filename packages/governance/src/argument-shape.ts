import type { CedarValueJson, TypeOfAttribute } from '@cedar-policy/cedar-wasm/nodejs';
import { isJsonObject } from './parameter-schema.ts';
import type { Json, JsonObject } from './tool-definition.ts';

/** What policies can see of an argument. A field without shape exists and is not visible. */
export type Shape =
  | { kind: 'string' | 'long' | 'boolean' }
  | { kind: 'set'; element: Shape }
  | { kind: 'record'; fields: ReadonlyMap<string, { shape: Shape | null; required: boolean }> };

/** An argument that policies cannot look at, and why. */
export type InvisibleArgument = { path: string; why: string };

/**
 * What policies can see of arguments of this JSON Schema. Cedar knows texts, whole numbers, yes and no, sets of one kind, and
 * records whose names are known beforehand; everything else is left out and reported.
 */
export function toShape(parameters: JsonObject): { shape: Shape; invisible: InvisibleArgument[] } {
  const invisible: InvisibleArgument[] = [];
  const shape = shapeOf(parameters, '', invisible);
  return { shape: shape ?? { kind: 'record', fields: new Map() }, invisible };
}

function shapeOf(schema: Json | undefined, path: string, invisible: InvisibleArgument[]): Shape | null {
  const hidden = (why: string) => {
    invisible.push({ path, why });
    return null;
  };
  if (!isJsonObject(schema)) return hidden('no schema');
  const type = typeOf(schema);
  switch (type) {
    case 'string':
    case 'boolean':
      return { kind: type };
    case 'integer':
      return { kind: 'long' };
    case 'array': {
      const element = shapeOf(schema['items'], `${path}[]`, invisible);
      return element === null ? null : { kind: 'set', element };
    }
    case 'object':
      if (schema['additionalProperties'] !== false) return hidden('names that are not known beforehand');
      return recordOf(schema, path, invisible);
    case null:
      return hidden('more than one type');
    default:
      return hidden(`type ${type}`);
  }
}

function recordOf(schema: JsonObject, path: string, invisible: InvisibleArgument[]): Shape {
  const properties = isJsonObject(schema['properties']) ? schema['properties'] : {};
  const required = Array.isArray(schema['required']) ? (schema['required'] as readonly Json[]) : [];
  const fields = Object.entries(properties).map(([name, part]) => {
    const shape = shapeOf(part, path === '' ? name : `${path}.${name}`, invisible);
    return [name, { shape, required: required.includes(name) }] as const;
  });
  return { kind: 'record', fields: new Map(fields) };
}

/** The one type that every fitting value has; null if there may be several. */
function typeOf(schema: JsonObject): string | null {
  const { type } = schema;
  if (typeof type === 'string') return type;
  if (Array.isArray(type)) return type.length === 1 && typeof type[0] === 'string' ? type[0] : null;
  const choices = Object.hasOwn(schema, 'const') ? [schema['const']] : schema['enum'];
  if (!Array.isArray(choices) || choices.length === 0) return null;
  const types = new Set(choices.map((choice: unknown) => (Number.isSafeInteger(choice) ? 'integer' : typeof choice)));
  const [only = null] = types;
  return types.size === 1 && only !== 'object' ? only : null;
}

/** The same in Cedar's schema. */
export function toCedarType(shape: Shape): TypeOfAttribute<string> {
  switch (shape.kind) {
    case 'string':
      return { type: 'String' };
    case 'long':
      return { type: 'Long' };
    case 'boolean':
      return { type: 'Boolean' };
    case 'set':
      return { type: 'Set', element: toCedarType(shape.element) };
    case 'record': {
      const visible = [...shape.fields].flatMap(([name, field]) =>
        field.shape === null ? [] : [[name, { ...toCedarType(field.shape), required: field.required }] as const],
      );
      return { type: 'Record', attributes: Object.fromEntries(visible) };
    }
    default:
      return shape satisfies never;
  }
}

/**
 * What policies see of these arguments. Throws where they do not fit the shape: also for a name that the tool does not
 * declare, since a policy would decide without having seen it. Only declared names are passed on, so no argument can
 * speak Cedar's own JSON (`__entity`, `__extn`).
 */
export function toCedarValue(shape: Shape, value: Json): CedarValueJson {
  switch (shape.kind) {
    case 'string':
      if (typeof value === 'string') return value;
      break;
    case 'boolean':
      if (typeof value === 'boolean') return value;
      break;
    case 'long':
      if (Number.isSafeInteger(value)) return value as number;
      break;
    case 'set':
      if (Array.isArray(value)) return (value as readonly Json[]).map((part) => toCedarValue(shape.element, part));
      break;
    case 'record':
      if (isJsonObject(value)) return toRecord(shape.fields, value);
      break;
    default:
      return shape satisfies never;
  }
  throw new TypeError('an argument does not fit its schema');
}

function toRecord(fields: (Shape & { kind: 'record' })['fields'], value: JsonObject): CedarValueJson {
  const visible = Object.entries(value).flatMap(([name, part]) => {
    const field = fields.get(name);
    if (field === undefined) throw new TypeError('an argument is not declared');
    return field.shape === null ? [] : [[name, toCedarValue(field.shape, part)] as const];
  });
  return Object.fromEntries(visible);
}
