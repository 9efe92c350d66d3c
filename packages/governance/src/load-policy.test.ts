import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { loadPolicy, readPolicyFiles } from './index.ts';
import { CALL, look } from './policy-test-support.ts';

const folders: string[] = [];
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

function folderWith(files: Record<string, string | Buffer>): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'steward-policy-'));
  folders.push(folder);
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(folder, name), content);
  return folder;
}

const invalid = (fault: string) =>
  expect.objectContaining({
    code: 'POLICY_INVALID',
    details: { faults: expect.arrayContaining([expect.stringContaining(fault)]) },
  });

describe('loadPolicy', () => {
  it('reads the Cedar files of a folder in the order of their names, and nothing else', () => {
    const folder = folderWith({
      'b.cedar': `${CALL};`,
      'a.cedar': `${CALL};`,
      'cases.yaml': 'x',
      '.hidden.cedar': 'nonsense',
      'c.cedar~': 'nonsense',
    });
    expect([...loadPolicy({ folder, tools: [look] }).statements.keys()]).toEqual(['a.cedar#1', 'b.cedar#1']);
    expect(readPolicyFiles({ folder }).map(({ name }) => name)).toEqual(['a.cedar', 'b.cedar']);
  });

  it.each<[string, Record<string, string | Buffer>, string]>([
    ['an empty folder', {}, 'there is no policy'],
    ['a file that is not UTF-8', { 'a.cedar': Buffer.from([0x70, 0xff]) }, 'a.cedar is not UTF-8'],
    [
      'a file that begins with a byte order mark',
      { 'a.cedar': `\ufeff${CALL};` },
      'a.cedar:1 - an invisible character',
    ],
    ['a file without measure', { 'a.cedar': `//${'x'.repeat(262_144)}` }, 'a.cedar is larger'],
    ['a name of other than letters', { 'a b.cedar': `${CALL};` }, 'a policy file has a name'],
  ])('refuses %s', (_, files, fault) => {
    expect(() => loadPolicy({ folder: folderWith(files), tools: [look] })).toThrow(invalid(fault));
  });

  it('refuses a folder that is not there', () => {
    expect(() => loadPolicy({ folder: '/nowhere/at/all', tools: [] })).toThrow(
      invalid('the policy folder cannot be read'),
    );
  });
});
