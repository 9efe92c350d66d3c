import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from './errors.ts';
import { registerSecret } from './secret-registry.ts';

const MAX_BYTES = 65_536;

/** A name inside the secrets folder: no path, nothing hidden. */
export const SECRET_FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/**
 * The trimmed content of one file of the secrets folder (a stray line end is the usual reason for a refused secret).
 * From then on the value is masked in every log line. AppError SECRET_MISSING names the file, never its content.
 */
export function readSecretFile(dir: string, name: string): string {
  if (!SECRET_FILE_NAME.test(name))
    throw secretMissing('a secret file needs a plain name of letters, digits, dots, dashes and underscores');
  return readSecretPath(join(dir, name));
}

/** The same for a whole path, as `NAME_FILE` variables give it. */
export function readSecretPath(path: string): string {
  const content = readBounded(path).trim();
  if (content === '') throw secretMissing(`secret file ${path} is empty`);
  registerSecret(content);
  return content;
}

function readBounded(path: string): string {
  try {
    const { size } = statSync(path);
    if (size <= MAX_BYTES) return readFileSync(path, 'utf8');
  } catch (cause) {
    const reason = Object(cause) as { code?: unknown }; // a Node system error carries its code
    throw secretMissing(`secret file ${path} cannot be read (${String(reason.code)})`);
  }
  throw secretMissing(`secret file ${path} is larger than ${MAX_BYTES} bytes`);
}

function secretMissing(why: string): AppError {
  return new AppError('SECRET_MISSING', why, { retryable: false });
}
