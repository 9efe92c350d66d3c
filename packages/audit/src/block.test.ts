import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  appendCheckpoint,
  canonicalEntry,
  checkpointLine,
  checkSignature,
  generateSealKey,
  hashBlock,
  publicKeyPemOf,
  readCheckpoints,
  readPublicKeys,
  readSealKey,
  signBlock,
  type EntryRow,
} from './index.ts';
import { canonicalJson } from './canonical-json.ts';
import { decodeLeaves, encodeLeaf, toMicroseconds, toUtcText } from './leaf.ts';

const pair = generateSealKey();
const key = readSealKey(pair.privateKeyPem);
const block = signBlock(
  {
    number: 7,
    epoch: 1,
    kind: 'block',
    previousHash: 'ab'.repeat(32),
    fromTransaction: '900',
    toTransaction: '905',
    entryCount: 3,
    root: 'cd'.repeat(32),
    sealedAt: '2026-11-25T10:00:00.000001Z',
    keyId: key.keyId,
  },
  key,
);

describe('a block', () => {
  it.each(Object.keys(block).filter((name) => name !== 'hash' && name !== 'signature'))(
    'has another hash with another %s',
    (name) => {
      const value = block[name as 'number'];
      const other = typeof value === 'number' ? value + 1 : `${String(value)}0`;
      expect(hashBlock({ ...block, [name]: other })).not.toBe(block.hash);
    },
  );

  it('is signed by the key it names, and by no other', () => {
    const keys = readPublicKeys(pair.publicKeyPem);
    expect(checkSignature(block, keys)).toBe('good');
    expect(checkSignature({ ...block, number: 8 }, keys)).toBe('bad');
    expect(checkSignature({ ...block, sealedAt: '2026-11-25T10:00:00.000002Z' }, keys)).toBe('bad');
    expect(checkSignature({ ...block, signature: '00' }, keys)).toBe('bad');
    expect(checkSignature(block, readPublicKeys(generateSealKey().publicKeyPem))).toBe('unknown_key');
  });
});

describe('keys', () => {
  it('are read from PEM texts, several at once, and named by their public part', () => {
    const other = generateSealKey();
    expect([...readPublicKeys(`${pair.publicKeyPem}\n${other.publicKeyPem}`).keys()]).toEqual([
      pair.keyId,
      other.keyId,
    ]);
    expect(key.keyId).toBe(pair.keyId);
    expect(publicKeyPemOf(pair.privateKeyPem)).toBe(pair.publicKeyPem);
  });

  it.each([
    ['nothing', ''],
    ['some text', 'c4nary'],
    ['a public key', pair.publicKeyPem],
    [
      'an RSA key',
      generateKeyPairSync('rsa', { modulusLength: 2048 })
        .privateKey.export({ type: 'pkcs8', format: 'pem' })
        .toString(),
    ],
  ])('refuse %s as a private key, and say nothing of it', (_, text) => {
    expect(() => readSealKey(text)).toThrow(
      expect.objectContaining({ code: 'SEAL_KEY_INVALID', message: expect.not.stringContaining('c4nary') }),
    );
  });

  it('refuse a private key where a public one is wanted', () => {
    expect(() => readPublicKeys(pair.privateKeyPem)).toThrow(expect.objectContaining({ code: 'SEAL_KEY_INVALID' }));
  });
});

describe('a checkpoint', () => {
  const { number, epoch, hash, sealedAt, keyId, signature } = block;
  const checkpoint = { number, epoch, hash, sealedAt, keyId, signature };

  it('is read back from its line, whatever stands around it', () => {
    const line = checkpointLine(checkpoint);
    expect(readCheckpoints(`Today's checkpoint:\n> ${line}\n> ${line} thanks`)).toEqual([checkpoint, checkpoint]);
    expect(checkSignature(checkpoint, readPublicKeys(pair.publicKeyPem))).toBe('good');
  });

  it('is appended to a file', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'steward-checkpoint-'));
    const file = path.join(folder, 'checkpoints.txt');
    await appendCheckpoint(file, checkpointLine(checkpoint));
    await appendCheckpoint(file, checkpointLine({ ...checkpoint, number: 8 }));
    expect(readCheckpoints(await readFile(file, 'utf8')).map((read) => read.number)).toEqual([7, 8]);
    await rm(folder, { recursive: true });
    await expect(appendCheckpoint(file, 'x')).rejects.toMatchObject({
      code: 'CHECKPOINT_NOT_WRITTEN',
      retryable: true,
    });
  });

  it.each(['', 'steward-checkpoint v1 number=1', checkpointLine(checkpoint).slice(0, -1)])(
    'is not found in %j',
    (text) => {
      expect(() => readCheckpoints(text)).toThrow(expect.objectContaining({ code: 'CHECKPOINT_INVALID' }));
    },
  );
});

describe('leaves', () => {
  it('are read back as they were written', () => {
    const leaf = fc.record({
      id: fc.uuid(),
      transactionId: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
      microseconds: fc.bigInt({ min: -(2n ** 55n), max: 2n ** 55n }),
      entryHash: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
    });
    fc.assert(
      fc.property(fc.array(leaf, { maxLength: 5 }), (leaves) => {
        expect(decodeLeaves(Buffer.concat(leaves.map(encodeLeaf)))).toEqual(leaves);
        for (const { microseconds } of leaves) expect(toMicroseconds(toUtcText(microseconds))).toBe(microseconds);
      }),
    );
    expect(() => decodeLeaves(Buffer.alloc(65))).toThrow(expect.objectContaining({ code: 'AUDIT_FORM_INVALID' }));
    expect(() => toMicroseconds('2026-01-01')).toThrow(expect.objectContaining({ code: 'AUDIT_FORM_INVALID' }));
  });
});

describe('the canonical form of an entry', () => {
  const row: EntryRow = {
    id: '0192f0aa-0000-7000-8000-000000000001',
    occurredAt: '2026-11-25T10:00:00.000001Z',
    service: 'adapter',
    kind: 'inbound.recorded',
    outcome: 'accepted',
    correlationId: null,
    environment: 'test',
    robotCode: 'r',
    conversationId: 'c',
    actorStaffId: 's',
    actorCorpId: 'k',
    actorRole: null,
    door: null,
    subjectId: null,
    digest: null,
    policyHash: null,
    model: null,
    promptHash: null,
    detail: '{"n": 1.50}',
    detailHash: null,
    transactionId: '900',
    epoch: 1,
  };

  // A text that was sealed once must be the same for ever: this one may not change.
  it('is this text', () => {
    expect(canonicalEntry(row)).toBe(
      '{"actorCorpId":"k","actorRole":null,"actorStaffId":"s","conversationId":"c","correlationId":null,' +
        '"detail":"{\\"n\\": 1.50}","detailHash":null,"digest":null,"door":null,"environment":"test","epoch":1,' +
        '"id":"0192f0aa-0000-7000-8000-000000000001","kind":"inbound.recorded","model":null,' +
        '"occurredAt":"2026-11-25T10:00:00.000001Z","outcome":"accepted","policyHash":null,"promptHash":null,' +
        '"robotCode":"r","service":"adapter","subjectId":null,"transactionId":"900"}',
    );
  });

  it('is RFC 8785, whatever the texts are', () => {
    const text = fc.oneof(fc.constant(null), fc.string({ unit: 'binary' }), fc.string());
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...Object.keys(row)), text), fc.nat(), (over, epoch) => {
        const other = { ...row, ...over, epoch };
        expect(canonicalEntry(other)).toBe(canonicalJson(other));
      }),
    );
  });

  it.each(Object.keys(row))('changes with %s, and with nothing that is no column', (name) => {
    expect(canonicalEntry({ ...row, [name]: name === 'epoch' ? 2 : 'other' })).not.toBe(canonicalEntry(row));
    expect(canonicalEntry({ ...row, salt: 'x' } as EntryRow)).toBe(canonicalEntry(row));
  });
});
