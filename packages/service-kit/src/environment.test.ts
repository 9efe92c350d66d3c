import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { AppError, readEnvironment, readSecretFile, redactText } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'steward-environment-'));
afterAll(() => rmSync(folder, { recursive: true }));

function writeSecret(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const schema = z.object({
  DATABASE_URL: z.url({ protocol: /^postgres$/ }),
  AMQP_URL: z.url({ protocol: /^amqps?$/ }),
  REPLY_KEY: z.string().min(10).optional(),
  LOG_LEVEL: z.enum(['debug', 'info']).default('info'),
  POOL_SIZE: z.coerce.number().int().default(5),
});
const valid = { DATABASE_URL: 'postgres://u:secretive-password-1@db/x', AMQP_URL: 'amqp://mq' };

function faultsOf(env: Record<string, string>): string[] {
  try {
    readEnvironment(schema, env);
    return [];
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'ENVIRONMENT_INVALID') throw error;
    return error.details['faults'] as string[];
  }
}

describe('readEnvironment', () => {
  it('parses what the schema names and ignores the rest', () => {
    expect(readEnvironment(schema, { ...valid, POOL_SIZE: '7', HOME: '/' })).toEqual({
      ...valid,
      LOG_LEVEL: 'info',
      POOL_SIZE: 7,
    });
  });

  it('takes a value from the file that NAME_FILE names, trimmed, and an empty variable for absent', () => {
    const path = writeSecret('db', `  ${valid.DATABASE_URL}\n`);
    const env = { ...valid, DATABASE_URL: '', DATABASE_URL_FILE: path, REPLY_KEY: '', REPLY_KEY_FILE: '' };
    expect(readEnvironment(schema, env)).toMatchObject({ DATABASE_URL: valid.DATABASE_URL });
  });

  it('lists every fault at once, by name and never by value', () => {
    const faults = faultsOf({
      DATABASE_URL: 'hunter2://',
      REPLY_KEY: 'hunter2',
      LOG_LEVEL: 'hunter2',
      POOL_SIZE: 'hunter2',
    });
    expect(faults.map((fault) => fault.split(' ')[0])).toEqual([
      'DATABASE_URL',
      'AMQP_URL',
      'REPLY_KEY',
      'LOG_LEVEL',
      'POOL_SIZE',
    ]);
    expect(faults.join()).not.toContain('hunter2');
  });

  it('refuses a value and a file at once, a missing file, and an empty file, each once', () => {
    const env = { ...valid, REPLY_KEY: 'x'.repeat(12), REPLY_KEY_FILE: '/x' };
    expect(faultsOf(env)).toEqual(['REPLY_KEY - set it or REPLY_KEY_FILE, not both']);
    expect(faultsOf({ ...valid, AMQP_URL: '', AMQP_URL_FILE: join(folder, 'absent') })).toEqual([
      expect.stringMatching(/^AMQP_URL_FILE - .*absent cannot be read \(ENOENT\)$/),
    ]);
    expect(faultsOf({ ...valid, AMQP_URL: '', AMQP_URL_FILE: writeSecret('empty', ' \n') })).toEqual([
      expect.stringMatching(/^AMQP_URL_FILE - .*empty is empty$/),
    ]);
  });

  it('keeps what it read out of every log line', () => {
    const DATABASE_URL = 'postgres://u:only-in-this-url@db/x';
    readEnvironment(schema, { ...valid, DATABASE_URL, REPLY_KEY: 'direct-reply-value' });
    readEnvironment(schema, { ...valid, REPLY_KEY_FILE: writeSecret('reply', 'reply-value-of-file') });
    const clean = redactText('direct-reply-value reply-value-of-file only-in-this-url');
    expect(clean).toBe('[redacted] [redacted] [redacted]');
  });
});

describe('readSecretFile', () => {
  it('gives the trimmed content and keeps it out of every log line', () => {
    writeSecret('app-secret', '\n  plain-words-as-secret \r\n');
    expect(readSecretFile(folder, 'app-secret')).toBe('plain-words-as-secret');
    expect(redactText('sent plain-words-as-secret')).toBe('sent [redacted]');
  });

  it.each([['absent'], ['blank'], ['folder'], ['../app-secret'], ['/etc/passwd'], ['.hidden'], [''], ['large']])(
    'refuses %j with SECRET_MISSING',
    (name) => {
      writeSecret('blank', '\n');
      writeSecret('large', 'x'.repeat(70_000));
      mkdirSync(join(folder, 'folder'), { recursive: true });
      expect(() => readSecretFile(folder, name)).toThrow(
        expect.objectContaining({ code: 'SECRET_MISSING', retryable: false }),
      );
    },
  );

  it('names the file that is missing', () => {
    expect(() => readSecretFile(folder, 'robot-ops.app-secret')).toThrow('robot-ops.app-secret');
  });
});
