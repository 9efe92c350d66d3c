import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from '@jest/globals';

const root = path.resolve(import.meta.dirname, '..');
const patches = readdirSync(path.join(root, 'test/simulate/bugs')).sort();

describe('the planted bugs of the simulation', () => {
  it('are at least 15, numbered without a gap', () => {
    expect(patches.length).toBeGreaterThanOrEqual(15);
    expect(patches.map((name) => Number(name.slice(0, 2)))).toEqual(patches.map((_, at) => at + 1));
  });

  it.each(patches)('%s still fits the code that it breaks', (patch) => {
    const check = () =>
      execFileSync('git', ['apply', '--check', `test/simulate/bugs/${patch}`], { cwd: root, stdio: 'pipe' });
    expect(check).not.toThrow();
  });
});
