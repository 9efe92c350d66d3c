import { AppError } from '@steward/service-kit';
import type { Block } from './block.ts';
import { bundleSchema, type Bundle } from './bundle.ts';
import { sha256 } from './canonical-json.ts';
import type { Fault } from './fault.ts';
import { hashOfLeaf, leafOf } from './leaf.ts';
import { rootOfPath } from './merkle.ts';
import type { PublicKeys } from './seal-key.ts';
import { verifyLink, verifySignedBlock } from './verify-chain.ts';

/** What checking a bundle found. `proved` entries are in signed blocks exactly as the bundle has them. */
export type BundleReport = {
  /** `unproved`: nothing wrong, but no block proves every entry. */
  outcome: 'fine' | 'bad' | 'unproved';
  /** 0 fine, 1 bad, 3 unproved. */
  exitCode: 0 | 1 | 3;
  correlationId: string;
  entries: number;
  proved: number;
  /** Not sealed yet when the bundle was made: nothing proves them. */
  unsealed: number;
  erased: number;
  /** Whether the blocks are one unbroken run; if not, each is still proved by its own signature. False without blocks. */
  linked: boolean;
  /** The policy sets that the entries name, and whether the bundle has the text whose SHA-256 that is. */
  policies: { hash: string; text: 'whole' | 'missing' | 'altered' }[];
  faults: Fault[];
};

const sizeLimit = 256 * 1024 * 1024;

/** Checks a bundle's text with public keys alone. Throws BUNDLE_INVALID when it is none. Pure. */
export function verifyBundle(text: string, publicKeys: PublicKeys): BundleReport {
  const bundle = readBundle(text);
  const blocks = new Map(bundle.blocks.map((block) => [block.number, block]));
  const faults = bundle.blocks.flatMap((block) => verifySignedBlock(block, publicKeys));
  const isRun = bundle.blocks.every((block, at) => at === 0 || bundle.blocks[at - 1]?.number === block.number - 1);
  if (isRun) faults.push(...bundle.blocks.flatMap((block, at) => linkFaults(bundle.blocks[at - 1], block)));
  let proved = 0;
  for (const each of bundle.entries) {
    const own = entryFaults(each, bundle.correlationId, blocks);
    faults.push(...own);
    if (own.length === 0 && each.proof !== null) proved += 1;
  }
  const policies = checkPolicies(bundle);
  faults.push(...policies.filter(({ text: state }) => state === 'altered').map(policyFault));
  return {
    ...judgeBundle({ faults: faults.length, unproved: bundle.entries.length - proved }),
    correlationId: bundle.correlationId,
    entries: bundle.entries.length,
    proved,
    unsealed: bundle.entries.filter(({ proof }) => proof === null).length,
    erased: bundle.entries.filter(({ personal }) => personal.state === 'erased').length,
    linked: isRun && bundle.blocks.length > 0,
    policies,
    faults,
  };
}

function judgeBundle(o: { faults: number; unproved: number }): Pick<BundleReport, 'outcome' | 'exitCode'> {
  if (o.faults > 0) return { outcome: 'bad', exitCode: 1 };
  return o.unproved > 0 ? { outcome: 'unproved', exitCode: 3 } : { outcome: 'fine', exitCode: 0 };
}

function checkPolicies({ entries, policies }: Bundle): BundleReport['policies'] {
  const named = [...new Set(entries.flatMap(({ entry }) => entry.policyHash ?? []))].toSorted();
  return named.map((hash) => {
    const kept = policies.filter((policy) => policy.hash === hash);
    if (kept.length === 0) return { hash, text: 'missing' };
    return { hash, text: kept.every(({ source }) => sha256(source).toString('hex') === hash) ? 'whole' : 'altered' };
  });
}

const policyFault = ({ hash }: { hash: string }): Fault => ({
  code: 'policy_altered',
  text: `the text of policy set ${hash} is not the one that was in force`,
});

function readBundle(text: string): Bundle {
  const invalid = () =>
    new AppError('BUNDLE_INVALID', 'this is no evidence bundle of Steward, or it was cut off', { retryable: false });
  if (text.length > sizeLimit) throw invalid();
  try {
    const parsed = bundleSchema.safeParse(JSON.parse(text));
    if (parsed.success) return parsed.data;
  } catch {
    // No JSON at all: the same answer.
  }
  throw invalid();
}

const linkFaults = (previous: Block | undefined, block: Block): Fault[] =>
  previous === undefined ? [] : verifyLink(previous, block);

function entryFaults(
  { entry, personal, proof }: Bundle['entries'][number],
  correlationId: string,
  blocks: ReadonlyMap<number, Block>,
): Fault[] {
  const fault = (code: Fault['code'], what: string): Fault[] => [
    { code, entryId: entry.id, text: `entry ${entry.id} (${entry.kind}) ${what}` },
  ];
  if (entry.correlationId !== correlationId) return fault('entry_inserted', 'is of another correlation id');
  if (personal.state === 'missing') return fault('detail_missing', 'has lost its personal text');
  if ((entry.detailHash === null) !== (personal.state === 'none')) {
    return fault('detail_altered', 'has personal text that was not written with it');
  }
  if (personal.state === 'kept') {
    const found = sha256(Buffer.from(personal.salt, 'hex'), personal.body).toString('hex');
    if (found !== entry.detailHash) return fault('detail_altered', 'has personal text that was edited');
  }
  if (proof === null) {
    // An entry that lies in the range of a block of the bundle was sealed, so it would have a proof.
    const isCovered = [...blocks.values()].some((block) => covers(block, entry));
    return isCovered ? fault('entry_inserted', 'lies in a sealed range, but not in its block') : [];
  }
  const block = blocks.get(proof.block);
  if (block === undefined || !covers(block, entry))
    return fault('entry_inserted', 'names a block that does not hold it');
  const path = proof.path.map((step) => Buffer.from(step, 'hex'));
  const leafHash = hashOfLeaf(leafOf(entry));
  const root = rootOfPath({ leafHash, index: proof.index, size: block.entryCount, path });
  return root?.toString('hex') === block.root ? [] : fault('entry_edited', `is not what block ${block.number} sealed`);
}

function covers(block: Block, entry: { epoch: number; transactionId: string }): boolean {
  const transaction = BigInt(entry.transactionId);
  return (
    block.epoch === entry.epoch &&
    BigInt(block.fromTransaction) <= transaction &&
    transaction < BigInt(block.toTransaction)
  );
}
