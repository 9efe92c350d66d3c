import type { z } from 'zod';
import { AppError } from './errors.ts';
import { redactText } from './redact.ts';
import { readSecretPath } from './secret-file.ts';
import { isSecretName } from './secret-name.ts';
import { registerSecret } from './secret-registry.ts';

/**
 * Parses a service's environment once. Each variable of the schema may come as NAME or, for secrets, as NAME_FILE
 * (a path whose trimmed content is the value); an empty variable counts as absent. Throws AppError
 * ENVIRONMENT_INVALID that lists every fault at once, by name and never by value. Secrets are masked in logs from here on.
 */
export function readEnvironment<S extends z.ZodObject>(schema: S, env: Environment): z.output<S> {
  const faults: Fault[] = [];
  const values: Record<string, string> = {};
  for (const name of Object.keys(schema.shape)) {
    const value = readVariable(name, env, faults);
    if (value !== undefined) values[name] = value;
  }
  const parsed = schema.safeParse(values);
  if (parsed.success && faults.length === 0) return parsed.data;
  for (const issue of parsed.error?.issues ?? []) {
    const name = issue.path.join('.');
    // A file that cannot be read has been reported as such; that its variable is also missing says nothing new.
    if (!faults.some((fault) => fault.name === name)) faults.push({ name, text: `${name} - ${issue.message}` });
  }
  const shown = faults.map(({ text }) => redactText(text));
  throw new AppError('ENVIRONMENT_INVALID', `the environment is not usable:\n  ${shown.join('\n  ')}`, {
    retryable: false,
    details: { faults: shown },
  });
}

type Environment = Readonly<Record<string, string | undefined>>;
type Fault = { name: string; text: string };

const URL_WITH_PASSWORD = /^[a-z+]+:\/\/[^/@]*:[^/@]*@/i;

function readVariable(name: string, env: Environment, faults: Fault[]): string | undefined {
  const direct = env[name] === '' ? undefined : env[name];
  const path = env[`${name}_FILE`] === '' ? undefined : env[`${name}_FILE`];
  if (direct !== undefined && path !== undefined) {
    faults.push({ name, text: `${name} - set it or ${name}_FILE, not both` });
    return undefined;
  }
  if (path !== undefined) return readFileVariable(name, path, faults);
  if (direct !== undefined && (isSecretName(name) || URL_WITH_PASSWORD.test(direct))) registerSecret(direct);
  return direct;
}

function readFileVariable(name: string, path: string, faults: Fault[]): string | undefined {
  try {
    return readSecretPath(path);
  } catch (error) {
    faults.push({ name, text: `${name}_FILE - ${error instanceof AppError ? error.message : 'cannot be read'}` });
    return undefined;
  }
}
