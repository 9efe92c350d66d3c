import { randomBytes } from 'node:crypto';
import { chownSync, existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { AppError, createLogger, describeError, loadStewardConfig, type StewardConfig } from '@steward/service-kit';
import { buildDemoCard, buildDemoWorld, toLocalUrl } from './demo-world.ts';
import { planSecrets, readers, type Reader } from './plan-secrets.ts';
import { writeFolder, writeOwned } from './write-folder.ts';

/**
 * The one-shots of the compose stack, run as root: `stack-setup secrets` gives every container its own secrets,
 * `stack-setup demo-world` (profile demo) tells the simulator and the outside who exists.
 */
const log = createLogger({ service: 'stack-setup' });
const folder = '/secrets';

try {
  const config = loadStewardConfig({ path: process.env['STEWARD_CONFIG'] ?? 'config/steward.yaml' });
  const [command = ''] = process.argv.slice(2);
  if (command === 'secrets') distributeSecrets(config);
  else if (command === 'demo-world') writeDemoWorld(config);
  else throw new AppError('USAGE', 'stack-setup secrets | demo-world', { retryable: false });
} catch (error) {
  log.error('setup.failed', { error: describeError(error) });
  process.exitCode = 1;
}

/** Every reader's volume holds exactly its own files. Nothing is written while a file is missing. */
function distributeSecrets(config: StewardConfig): void {
  const { folders, missing } = planSecrets({ config, find: findSecret, salt: () => randomBytes(4) });
  if (missing.length > 0) {
    throw new AppError('SECRET_MISSING', `missing in the secrets folder: ${missing.join(', ')}`, { retryable: false });
  }
  for (const reader of Object.keys(readers) as Reader[]) {
    writeFolder(path.join(folder, reader), folders[reader], readers[reader].uid);
    log.info('secrets.written', { reader, files: Object.keys(folders[reader]).length });
  }
  // Caddy keeps its certificates, the sealer its checkpoints; neither runs as the root that a new volume belongs to.
  for (const volume of ['caddy-data', 'audit-checkpoints']) chownSync(path.join(folder, volume), 1000, 1000);
}

function writeDemoWorld(config: StewardConfig): void {
  writeFolder(
    path.join(folder, 'simulator'),
    { 'world.json': toJson(buildDemoWorld({ config, find: findSecret, callbackUrl: 'http://caddy:8080' })) },
    1000,
  );
  const status = toLocalUrl(process.env['STEWARD_DEMO_STATUS_BIND'] ?? '127.0.0.1:8091');
  const urls = {
    adapterUrl: toLocalUrl(process.env['STEWARD_HTTP_BIND'] ?? '127.0.0.1:8080'),
    simulatorUrl: toLocalUrl(process.env['STEWARD_SIMULATOR_BIND'] ?? '127.0.0.1:8090'),
    services: {
      adapter: `${status}/adapter`,
      agentCore: `${status}/agent-core`,
      outboundSender: `${status}/outbound-sender`,
      auditSealer: `${status}/audit-sealer`,
    },
  };
  // The folder is the person's own, so the file becomes theirs too.
  const { uid, gid } = statSync('/data');
  writeOwned('/data/demo.json', toJson(buildDemoCard({ config, find: findSecret, mode: 'compose', urls })), {
    uid,
    gid,
    mode: 0o600,
  });
  log.info('demo.written', { rooms: config.rooms.length, people: config.people.length });
}

function findSecret(name: string): string | null {
  const file = path.join(folder, 'source', path.basename(name));
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : null;
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
