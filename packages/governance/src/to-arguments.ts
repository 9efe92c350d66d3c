import type { Json, JsonObject } from './tool-definition.ts';

/**
 * What a person typed, as the types that a tool's schema asks for. What does not fit its type stays a text: then the schema
 * refuses it, with the argument's name.
 */
export function toArguments(parameters: JsonObject, typed: Readonly<Record<string, string>>): JsonObject {
  const properties = asObject(parameters['properties']);
  return Object.fromEntries(
    Object.entries(typed).map(([name, text]) => {
      const type = Object.hasOwn(properties, name) ? asObject(properties[name])['type'] : undefined;
      return [name, toValue(type, text)];
    }),
  );
}

function toValue(type: unknown, text: string): Json {
  switch (type) {
    case 'integer':
      return /^-?\d{1,15}$/.test(text) ? Number(text) : text;
    case 'number':
      return /^-?\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : text;
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text;
    case 'array':
      return parseOr(text, () => text.split(/[,，]/).map((part) => part.trim()));
    case 'object':
      return parseOr(text, () => text);
    default:
      return text;
  }
}

function parseOr(text: string, other: () => Json): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return other();
  }
}

const asObject = (value: Json | undefined): JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
