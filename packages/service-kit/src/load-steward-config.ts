import { readFileSync, statSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import { AppError } from './errors.ts';
import { redactText } from './redact.ts';
import { isSecretName } from './secret-name.ts';
import { stewardConfigSchema, type StewardConfig } from './steward-config.ts';

const MAX_BYTES = 1_048_576;

/**
 * Reads and checks config/steward.yaml. Throws AppError CONFIG_INVALID that lists every fault, each with its path in
 * the file (`rooms.2.robot`) and never with a value, since a value may be a secret in the wrong place.
 */
export function loadStewardConfig({ path }: { path: string }): StewardConfig {
  const parsed = stewardConfigSchema.safeParse(parseYaml(path, readConfigFile(path)));
  if (parsed.success) return parsed.data;
  throw invalid(path, parsed.error.issues.flatMap(describeIssue));
}

function readConfigFile(path: string): string {
  try {
    if (statSync(path).size <= MAX_BYTES) return readFileSync(path, 'utf8');
  } catch (cause) {
    const reason = Object(cause) as { code?: unknown }; // a Node system error carries its code
    throw invalid(path, [`cannot be read (${String(reason.code)})`]);
  }
  throw invalid(path, [`is larger than ${MAX_BYTES} bytes`]);
}

function parseYaml(path: string, text: string): unknown {
  const lines = new LineCounter();
  // prettyErrors would quote the faulty line, and with it a value.
  const yaml = parseDocument(text, { prettyErrors: false, lineCounter: lines });
  if (yaml.errors.length > 0) {
    throw invalid(
      path,
      yaml.errors.map((error) => `line ${lines.linePos(error.pos[0]).line} - not YAML (${error.code})`),
    );
  }
  try {
    return yaml.toJS({ maxAliasCount: 50 });
  } catch {
    throw invalid(path, ['too many YAML aliases']);
  }
}

type Issue = { code?: string; path: readonly PropertyKey[]; message: string; keys?: readonly string[] };

/** `path - fault`: with a colon between them, a fault of `appSecret` would itself look like a secret. */
function describeIssue(issue: Issue): string[] {
  const where = issue.path.map(String).join('.');
  if (issue.code !== 'unrecognized_keys') return [`${where === '' ? 'the file' : where} - ${issue.message}`];
  return (issue.keys ?? []).map((key) => {
    const hint = isSecretName(key) ? ' (secrets are named by file, as in appSecretFile)' : '';
    return `${[where, key].filter((part) => part !== '').join('.')} - unknown key${hint}`;
  });
}

function invalid(path: string, faults: readonly string[]): AppError {
  const shown = faults.map((fault) => redactText(fault));
  return new AppError('CONFIG_INVALID', `${path}:\n  ${shown.join('\n  ')}`, {
    retryable: false,
    details: { path, faults: shown },
  });
}
