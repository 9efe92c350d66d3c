import { isDeepStrictEqual } from 'node:util';
import { judge } from './judge.ts';
import type { Policy } from './policy.ts';
import type { JudgeInput, Verdict } from './verdict.ts';

/** A call that the two policy sets judge differently: another verdict, or other obligations on the way to it. */
export type Flip<Key> = { key: Key; kind: 'verdict' | 'obligations'; before: Verdict; after: Verdict };

/** Judges every input by both policy sets and lists the calls whose verdict flips, in their order. */
export function diffVerdicts<Key>(
  before: Policy,
  after: Policy,
  inputs: readonly { key: Key; input: JudgeInput }[],
): Flip<Key>[] {
  return inputs.flatMap(({ key, input }): Flip<Key>[] => {
    const [old, next] = [judge(before, input), judge(after, input)];
    if (old.verdict !== next.verdict) return [{ key, kind: 'verdict', before: old, after: next }];
    if (isDeepStrictEqual(old.obligations, next.obligations)) return [];
    return [{ key, kind: 'obligations', before: old, after: next }];
  });
}
