import { execFile } from 'node:child_process';
import { createPrivateKey, sign, verify, createPublicKey } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { root } from './docker.ts';

let folder: string;
const secret = (name: string) => path.join(folder, 'secrets', name);
const clean = { COMPOSE_PROFILES: '', STEWARD_CONFIG_DIR: '', STEWARD_SECRETS_DIR: '', STEWARD_DATA_DIR: '' };

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'steward-generate-'));
  for (const part of ['deploy/secrets', 'deploy/demo-stack'])
    cpSync(path.join(root, part), path.join(folder, part), { recursive: true });
  mkdirSync(path.join(folder, 'config'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function generate(env: Record<string, string> = {}): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const settings = { env: { ...process.env, ...clean, ...env }, cwd: tmpdir() };
    execFile('sh', [path.join(folder, 'deploy/secrets/generate')], settings, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr });
    });
  });
}

function readAll(): Record<string, string> {
  return Object.fromEntries(
    readdirSync(path.join(folder, 'secrets')).map((name) => [name, readFileSync(secret(name), 'utf8')]),
  );
}

describe('deploy/secrets/generate', () => {
  it('makes the demo ready to start where nothing is configured, and says loudly that it is the demo', async () => {
    const { code, output } = await generate();
    expect({ code, output }).toMatchObject({ code: 0, output: expect.stringContaining('*** DEMO') });
    expect(readFileSync(path.join(folder, '.env'), 'utf8')).toContain('COMPOSE_PROFILES=demo');
    expect(Object.keys(readAll())).toEqual(
      expect.arrayContaining(['demo-ops.app-secret', 'postgres-owner.password', 'reply.key']),
    );
    expect(existsSync(path.join(folder, 'data'))).toBe(true);
  });

  it('keeps every file to its owner, and prints no value', async () => {
    const { output } = await generate();
    expect(statSync(path.join(folder, 'secrets')).mode & 0o777).toBe(0o700);
    for (const [name, value] of Object.entries(readAll())) {
      expect([name, statSync(secret(name)).mode & 0o777]).toEqual([name, 0o600]);
      expect(output).not.toContain(value.trim());
    }
  });

  it('makes values that are long, different, and fit to stand in a URL', async () => {
    await generate();
    const { 'reply.key': key = '', 'audit-seal.key': _, ...others } = readAll();
    expect(key).toMatch(/^k\d{8}:[A-Za-z0-9+/]{43}=\n$/);
    for (const value of Object.values(others)) expect(value).toMatch(/^[0-9a-f]{43,64}$/);
    expect(new Set(Object.values(others)).size).toBe(Object.keys(others).length);
  });

  it('makes a key that signs, another one each time', async () => {
    const signWith = (pem: string) => {
      const key = createPrivateKey(pem);
      expect(key.asymmetricKeyType).toBe('ed25519');
      expect(verify(null, Buffer.from('block'), createPublicKey(key), sign(null, Buffer.from('block'), key))).toBe(
        true,
      );
    };
    await generate();
    const first = readAll()['audit-seal.key'] ?? '';
    signWith(first);
    expect(first).toMatch(/^-----BEGIN PRIVATE KEY-----\n[A-Za-z0-9+/]{64}\n-----END PRIVATE KEY-----\n$/);
    rmSync(secret('audit-seal.key'));
    await generate();
    signWith(readAll()['audit-seal.key'] ?? '');
    expect(readAll()['audit-seal.key']).not.toBe(first);
  });

  it('never overwrites, however often it runs', async () => {
    await generate();
    writeFileSync(secret('reply.key'), 'mine');
    const before = readAll();
    expect((await generate()).code).toBe(0);
    expect(readAll()).toEqual(before);
  });

  it('makes one file anew when only that one is gone', async () => {
    await generate();
    const before = readAll();
    rmSync(secret('postgres-adapter.password'));
    await generate();
    const { 'postgres-adapter.password': fresh, ...others } = readAll();
    expect(fresh).not.toBe(before['postgres-adapter.password']);
    expect(before).toMatchObject(others);
  });

  it('names the secrets that only the operator has, and makes none up', async () => {
    const named =
      'robots:\n  - { code: a, appSecretFile: ops.app-secret, events: { tokenFile: x, aesKeyFile: "y" } } # zFile: z\n' +
      'tools: { secrets: [{ name: t, file: deployer.token, environments: [test] }] }\n';
    writeFileSync(path.join(folder, 'config/steward.yaml'), named);
    const first = await generate();
    expect(first).toMatchObject({ code: 1, output: expect.stringContaining('ops.app-secret x y deployer.token\n') });
    expect(existsSync(path.join(folder, '.env'))).toBe(false);
    for (const name of ['ops.app-secret', 'x', 'y', 'deployer.token']) writeFileSync(secret(name), 'real');
    expect((await generate()).code).toBe(0);
  });

  it('stops where the settings point at a configuration that is not there', async () => {
    expect(await generate({ STEWARD_CONFIG_DIR: './nowhere' })).toMatchObject({
      code: 1,
      output: expect.stringContaining('nowhere/steward.yaml is missing'),
    });
  });

  it('follows the environment before .env', async () => {
    writeFileSync(
      path.join(folder, '.env'),
      'COMPOSE_PROFILES=demo\nSTEWARD_CONFIG_DIR=./deploy/demo-stack\nSTEWARD_SECRETS_DIR=./elsewhere\n',
    );
    await generate({ STEWARD_SECRETS_DIR: path.join(folder, 'secrets') });
    expect(existsSync(secret('reply.key'))).toBe(true);
    await generate();
    expect(existsSync(path.join(folder, 'elsewhere/reply.key'))).toBe(true);
  });
});
