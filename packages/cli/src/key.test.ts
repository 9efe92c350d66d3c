import { describe, expect, it } from '@jest/globals';
import { createPublicKey, verify } from 'node:crypto';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { readPublicKeys, readSealKey } from '@steward/audit';
import { toSignedClaims } from '@steward/governance';
import { stewardConfigSchema } from '@steward/service-kit';
import { signClaims } from './operator-key.ts';
import { steward, temporaryFolder, writeConfig } from './testing.ts';

const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);

describe('an operator’s key', () => {
  it('goes into a file of its own, and its public half into the configuration', async () => {
    const { code, out } = await steward(['key', 'new', at('li.key')]);
    expect(code).toBe(0);
    expect(statSync(at('li.key')).mode & 0o777).toBe(0o600);
    const config = JSON.parse(readFileSync(writeConfig(folder), 'utf8'));
    config.people[0].operatorKey = out.trim();
    expect(stewardConfigSchema.safeParse(config).success).toBe(true);
    expect((await steward(['key', 'show', at('li.key')])).out).toBe(out);
  });

  it('signs what agent-core checks with the public half', async () => {
    const { out } = await steward(['key', 'new', at('signing.key')]);
    const claims = { environment: 'test', staffId: '017', reason: null };
    const signature = Buffer.from(signClaims({ keyFile: at('signing.key'), verb: 'unfreeze', claims }), 'base64');
    const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.from(out, 'base64')]);
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    expect(verify(null, toSignedClaims('unfreeze', claims), key, signature)).toBe(true);
    expect(verify(null, toSignedClaims('freeze', claims), key, signature)).toBe(false);
    expect(verify(null, toSignedClaims('unfreeze', { ...claims, reason: '' }), key, signature)).toBe(false);
  });

  it('is never written over another file, and never told', async () => {
    const before = readFileSync(at('li.key'), 'utf8');
    const { code, out, err } = await steward(['key', 'new', at('li.key')]);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('(KEY_FILE_EXISTS)');
    expect(readFileSync(at('li.key'), 'utf8')).toBe(before);
    expect(err).not.toContain('PRIVATE');
  });

  it.each([
    ['others may read', () => chmodSync(at('open.key'), 0o640), 'chmod 600'],
    ['is no key', () => writeFileSync(at('open.key'), 'secret-text', { mode: 0o600 }), 'holds no private key'],
    ['is large', () => writeFileSync(at('open.key'), 'x'.repeat(5_000), { mode: 0o600 }), 'is no key'],
  ])('is refused when %s', async (_, change, why) => {
    writeFileSync(at('open.key'), readFileSync(at('li.key')), { mode: 0o600 });
    chmodSync(at('open.key'), 0o600);
    change();
    const { code, err } = await steward(['key', 'show', at('open.key')]);
    expect(code).toBe(2);
    expect(err).toContain(why);
    expect(err).not.toContain('secret-text');
  });
});

describe('the sealer’s key', () => {
  it('is a pair that the audit log takes', async () => {
    const { code, out } = await steward(['key', 'seal', at('seal.key')]);
    expect(code).toBe(0);
    expect(readSealKey(readFileSync(at('seal.key'), 'utf8')).keyId).toBe(out.trim());
    expect([...readPublicKeys(readFileSync(at('seal.key.pub'), 'utf8')).keys()]).toEqual([out.trim()]);
    expect(statSync(at('seal.key')).mode & 0o777).toBe(0o600);
  });
});
