import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { splitPolicyText } from './split-policy-text.ts';

const policy = 'permit (principal, action, resource);';

describe('splitPolicyText', () => {
  it('cuts at the semicolons that end a policy, and says where each begins', () => {
    const text = `// one; two\n@id("a;b") // "\n${policy}\n\n// three\n${policy} ${policy}\n// the end;\n`;
    expect(splitPolicyText(text).map(({ text: piece, line }) => [piece.trim(), line])).toEqual([
      [`// one; two\n@id("a;b") // "\n${policy}`, 1],
      [`// three\n${policy}`, 3],
      [policy, 6],
    ]);
  });

  it('keeps what follows the last semicolon, unless it is comments', () => {
    expect(splitPolicyText(`${policy} permit`)).toHaveLength(2);
    expect(splitPolicyText(`${policy} // permit`)).toHaveLength(1);
    expect(splitPolicyText('  // nothing yet\n')).toEqual([]);
    expect(splitPolicyText('"a text that never ends; x')).toHaveLength(2);
  });

  it('loses nothing', () => {
    const part = fc.constantFrom(policy, '"', '\\"', '\\\\', '// ;', '\n', ';', ' ', '"a;b"', '审批', '/', '@id("x")');
    fc.assert(
      fc.property(fc.array(part, { maxLength: 30 }), (parts) => {
        const text = parts.join('');
        const pieces = splitPolicyText(text);
        const kept = pieces.map((piece) => piece.text).join('');
        expect(text.startsWith(kept)).toBe(true);
        expect(
          text
            .slice(kept.length)
            .replace(/\/\/[^\n\r]*/g, '')
            .trim(),
        ).toBe('');
      }),
    );
  });
});
