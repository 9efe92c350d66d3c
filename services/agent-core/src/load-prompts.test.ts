import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { loadPrompts, systemPlaceholders } from './load-prompts.ts';

const shipped = path.join(import.meta.dirname, '../../../config/prompts');
const complete = systemPlaceholders.map((name) => `${name}: {{${name}}}`).join('\n');
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'steward-prompts-'));
});
afterAll(() => rmSync(folder, { recursive: true }));
const load = (text: string | Buffer) => {
  writeFileSync(path.join(folder, 'system.md'), text);
  return loadPrompts({ folder });
};
const faultOf = (text: string | Buffer): unknown => {
  try {
    return load(text);
  } catch (error) {
    return error;
  }
};

describe('prompts', () => {
  it('are the files as they are shipped, under the hash of their bytes', () => {
    const bytes = readFileSync(path.join(shipped, 'system.md'));
    expect(loadPrompts({ folder: shipped }).system.hash).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  it('have another hash as soon as one byte differs', () => {
    expect(load(complete).system.hash).not.toBe(load(`${complete} `).system.hash);
    expect(load(complete).system.hash).toBe(load(complete).system.hash);
  });

  it.each(systemPlaceholders)('must say {{%s}}', (name) => {
    expect(faultOf(complete.replace(`{{${name}}}`, ''))).toMatchObject({
      code: 'PROMPT_INVALID',
      retryable: false,
      message: expect.stringContaining(`lacks {{${name}}}`),
    });
  });

  it.each([
    ['an unknown placeholder', `${complete}{{secret-word}}`],
    ['a placeholder with spaces', `${complete}{{ place }}`],
    ['an empty placeholder', `${complete}{{}}`],
    ['braces that never close', `${complete}{{place`],
    ['braces within braces', `${complete}{{{place}}}`],
    ['too many bytes', complete + 'x'.repeat(32_768)],
    ['no UTF-8', Buffer.concat([Buffer.from(complete), Buffer.from([0xff])])],
    ['nothing in it', ' \n'],
  ])('are refused with %s, without repeating what they say', (_, text) => {
    const fault = faultOf(text);
    expect(fault).toMatchObject({ code: 'PROMPT_INVALID', retryable: false });
    expect(String(fault)).toContain(path.join(folder, 'system.md'));
    expect(String(fault)).not.toContain('secret-word');
  });

  it('are refused when they are not there', () => {
    expect(() => loadPrompts({ folder: path.join(folder, 'nowhere') })).toThrow(
      expect.objectContaining({ code: 'PROMPT_INVALID' }),
    );
  });
});
