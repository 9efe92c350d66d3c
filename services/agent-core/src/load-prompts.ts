import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { AppError } from '@steward/service-kit';

/** A prompt file. Its hash, SHA-256 of the file in hex, stands on every turn that used it. */
export type Prompt = { text: string; hash: string };
export type Prompts = { system: Prompt };

/** What a system prompt must say at least once, and all that it may ask for. */
export const systemPlaceholders = [
  'requester',
  'roles',
  'place',
  'environment',
  'clock',
  'tools',
  'skills',
  'fence',
] as const;
export type SystemPlaceholder = (typeof systemPlaceholders)[number];

const maxBytes = 32_768;

/**
 * Reads the prompts from their folder. Throws AppError PROMPT_INVALID when a file is missing, too large, not UTF-8, or
 * names a placeholder that nobody fills in or lacks one: a prompt that does not say where data begins is no prompt.
 */
export function loadPrompts(o: { folder: string }): Prompts {
  return { system: loadPrompt(path.join(o.folder, 'system.md'), systemPlaceholders) };
}

function loadPrompt(file: string, placeholders: readonly string[]): Prompt {
  const bytes = readPrompt(file);
  const text = toText(file, bytes);
  const named = [...text.matchAll(/\{\{([^{}]*)\}\}/g)].map(([, name = '']) => name);
  const missing = placeholders.filter((name) => !named.includes(name));
  const unknown = named.filter((name) => !placeholders.includes(name));
  if (missing.length > 0) throw invalid(file, `lacks ${missing.map((name) => `{{${name}}}`).join(', ')}`);
  // Braces that pair in no known way are a placeholder mistyped; what is between them is the file's and not repeated.
  if (unknown.length > 0 || /\{\{|\}\}/.test(text.replace(/(?<!\{)\{\{[^{}]*\}\}(?!\})/g, ''))) {
    throw invalid(file, `has a placeholder that is none of ${placeholders.join(', ')}`);
  }
  return { text, hash: createHash('sha256').update(bytes).digest('hex') };
}

function readPrompt(file: string): Buffer {
  try {
    if (statSync(file).size <= maxBytes) return readFileSync(file);
  } catch (cause) {
    throw invalid(file, 'cannot be read', cause);
  }
  throw invalid(file, `is larger than ${maxBytes} bytes`);
}

function toText(file: string, bytes: Buffer): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes).replace(/\r\n/g, '\n');
    if (text.trim() !== '') return text;
  } catch (cause) {
    throw invalid(file, 'is not UTF-8', cause);
  }
  throw invalid(file, 'is empty');
}

function invalid(file: string, fault: string, cause?: unknown): AppError {
  return new AppError('PROMPT_INVALID', `the prompt ${file} ${fault}`, { retryable: false, cause });
}
