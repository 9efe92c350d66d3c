import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { buildPolicy, loadPolicy, readPolicyFiles, runPolicyCases } from './index.ts';
import { toolNamed } from './policy-test-support.ts';

const folder = path.join(import.meta.dirname, '../../../config/policy');
const casesText = readFileSync(path.join(folder, 'cases.yaml'), 'utf8');
const files = readPolicyFiles({ folder });
const statements = [...loadPolicy({ folder, tools: [] }).statements.values()];

describe('the shipped policy', () => {
  it('says what its cases say, of which there are at least 40', () => {
    const { passed, failed } = runPolicyCases({ files, tools: [], casesText });
    expect(failed).toEqual([]);
    expect(passed).toBeGreaterThanOrEqual(40);
  });

  it('loads without any tool, so it names none that may be absent', () => {
    expect(statements.length).toBeGreaterThanOrEqual(9);
  });

  it('names and describes every policy', () => {
    for (const { id, description } of statements) {
      expect(id).toMatch(/^[a-z-]+$/);
      expect(description).not.toBeNull();
    }
  });

  it.each(statements.map(({ id, file, text }) => ({ id, file, text })))(
    'fails a case without $id',
    ({ id, file, text }) => {
      const without = files.map((one) => (one.name === file ? { ...one, text: one.text.replace(text, '') } : one));
      expect(without).not.toEqual(files);
      const { failed } = runPolicyCases({ files: without, tools: [], casesText });
      expect([id, failed.length > 0]).toEqual([id, true]);
    },
  );
});

describe('the page about policies', () => {
  const page = readFileSync(path.join(import.meta.dirname, '../../../docs/policy.md'), 'utf8');
  const examples = [...page.matchAll(/```cedar\n([^]*?)```/g)].map(([, text = '']) => text);
  const integer = { type: 'integer' } as const;
  const parameters = {
    type: 'object',
    additionalProperties: false,
    required: ['replicas'],
    properties: { replicas: integer },
  };

  it('shows policies that load beside the shipped ones', () => {
    expect(examples.length).toBeGreaterThanOrEqual(2);
    const own = { name: '50-ours.cedar', text: examples.join('\n') };
    const policy = buildPolicy({ files: [...files, own], tools: [toolNamed('scale_service', { parameters })] });
    expect(policy.warnings).toEqual([]);
  });
});
