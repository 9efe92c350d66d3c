import { z } from 'zod';
import { AppError } from '@steward/service-kit';
import type { Block } from './block.ts';
import { entryColumns, type EntryRow } from './canonical-entry.ts';
import { compareLeaves, hashOfLeaf, leafOf, type Leaf } from './leaf.ts';
import { inclusionPath } from './merkle.ts';
import type { Query } from './query.ts';
import { detailColumns, findBlockOf, readBlocks, readLeaves, type DetailColumns } from './read-log.ts';

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const transaction = z.string().regex(/^\d{1,19}$/);
const text = z.string().nullable();
const maxPolicies = 100;
const policySchema = z.strictObject({ hash, source: z.string() });

const entrySchema = z.strictObject({
  id: z.uuid(),
  occurredAt: z.string(),
  service: z.string(),
  kind: z.string(),
  outcome: z.string(),
  correlationId: text,
  environment: text,
  robotCode: text,
  conversationId: text,
  actorStaffId: text,
  actorCorpId: text,
  actorRole: text,
  door: text,
  subjectId: text,
  digest: text,
  policyHash: text,
  model: text,
  promptHash: text,
  detail: z.string(),
  detailHash: text,
  transactionId: z.string().regex(/^-?\d{1,19}$/),
  epoch: z.int(),
}) satisfies z.ZodType<EntryRow>;

const blockSchema = z.strictObject({
  number: z.int().positive(),
  epoch: z.int().positive(),
  kind: z.enum(['block', 'restore']),
  previousHash: hash,
  fromTransaction: transaction,
  toTransaction: transaction,
  entryCount: z.int().nonnegative(),
  root: hash,
  sealedAt: z.string(),
  keyId: z.string().regex(/^[0-9a-f]{16}$/),
  hash,
  signature: z.string().regex(/^[0-9a-f]{128}$/),
}) satisfies z.ZodType<Block>;

const personalSchema = z.discriminatedUnion('state', [
  z.strictObject({ state: z.literal('none') }),
  // The salt in hex and the text exactly as it was hashed.
  z.strictObject({ state: z.literal('kept'), salt: z.string().regex(/^([0-9a-f]{2})+$/), body: z.string() }),
  z.strictObject({ state: z.literal('erased'), by: z.string(), at: z.string(), reason: z.string() }),
  z.strictObject({ state: z.literal('missing') }),
]);

/** Evidence about one correlation id that can be checked with public keys alone: no database, no secret. */
export const bundleSchema = z.strictObject({
  form: z.literal('steward audit bundle v1'),
  correlationId: z.uuid(),
  madeAt: z.string(),
  entries: z
    .array(
      z.strictObject({
        entry: entrySchema,
        personal: personalSchema,
        /** Which block holds it, and where; null: not sealed when the bundle was made. */
        proof: z
          .strictObject({ block: z.int().positive(), index: z.int().nonnegative(), path: z.array(hash).max(64) })
          .nullable(),
      }),
    )
    .min(1),
  /** Those that hold the entries, and as far as there are not too many those between them: each names the one before. */
  blocks: z.array(blockSchema),
  /** The policy sets that entries name, as far as they were kept: SHA-256 of `source` is `hash`. */
  policies: z.array(policySchema).max(maxPolicies),
});
export type Bundle = z.output<typeof bundleSchema>;
type BundleEntry = Bundle['entries'][number];

const maxEntries = 5_000;
const maxLinkedBlocks = 2_000;

/**
 * Collects the entries of a correlation id with their personal text, Merkle paths and signed blocks, and the text of every
 * policy set that they name. Card text and reasons are in there where the entries hold them. Rejects with AUDIT_NOT_FOUND, or AUDIT_TOO_MUCH above 5,000 entries.
 */
export async function collectBundle(o: { query: Query; correlationId: string; now: () => Date }): Promise<Bundle> {
  const rows = await o.query<EntryRow & DetailColumns>(
    `select ${entryColumns}, ${detailColumns} from audit.entry e left join audit.detail d on d.entry_id = e.id
     where e.correlation_id = $1::uuid order by e.occurred_at, e.id limit ${maxEntries + 1}`,
    [o.correlationId],
  );
  if (rows.length === 0) throw refuse('AUDIT_NOT_FOUND', 'there is no audit entry with this correlation id');
  if (rows.length > maxEntries) throw refuse('AUDIT_TOO_MUCH', `a bundle holds at most ${maxEntries} entries`);
  const blocks = new Map<number, Block>();
  const hashesOf = createLeafHashes(o.query);
  const entries: BundleEntry[] = [];
  for (const row of rows) {
    const { salt: _salt, body: _body, erasedAt: _at, erasedBy: _by, eraseReason: _reason, ...entry } = row;
    const block = [...blocks.values()].find((one) => holds(one, row)) ?? (await findBlockOf(o.query, row));
    if (block !== null) blocks.set(block.number, block);
    entries.push({ entry, personal: toPersonal(row), proof: block && (await prove(hashesOf, block, row)) });
  }
  return {
    form: 'steward audit bundle v1',
    correlationId: o.correlationId.toLowerCase(),
    madeAt: o.now().toISOString(),
    entries,
    blocks: await linkBlocks(o.query, blocks),
    policies: await readPolicies(o.query, rows),
  };
}

const holds = (block: Block, row: EntryRow): boolean =>
  block.epoch === row.epoch &&
  BigInt(block.fromTransaction) <= BigInt(row.transactionId) &&
  BigInt(row.transactionId) < BigInt(block.toTransaction);

function readPolicies(query: Query, rows: readonly EntryRow[]): Promise<Bundle['policies']> {
  const named = [...new Set(rows.flatMap(({ policyHash }) => policyHash ?? []))];
  return query(
    `select policy_hash as "hash", source as "source" from audit.policy_text
     where policy_hash = any($1::text[]) order by policy_hash limit ${maxPolicies}`,
    [named],
  );
}

type Leaves = { ids: Leaf[]; hashes: Buffer[] };

/** Keeps the leaves of the block asked for last: entries come in order, so most ask for the same one. */
function createLeafHashes(query: Query): (block: number) => Promise<Leaves> {
  let kept: { block: number; leaves: Leaves } | undefined;
  return async (block) => {
    if (kept?.block !== block) {
      const leaves = await readLeaves(query, block);
      kept = { block, leaves: { ids: leaves, hashes: leaves.map(hashOfLeaf) } };
    }
    return kept.leaves;
  };
}

async function prove(hashesOf: (block: number) => Promise<Leaves>, block: Block, row: EntryRow) {
  const { ids, hashes } = await hashesOf(block.number);
  const own = leafOf(row);
  const index = ids.findIndex((leaf) => compareLeaves(leaf, own) === 0);
  // A row that is not among the leaves was put in afterwards: no proof, and checking the bundle will say so.
  if (index < 0) return null;
  return { block: block.number, index, path: inclusionPath(hashes, index).map((step) => step.toString('hex')) };
}

function toPersonal(row: EntryRow & DetailColumns): BundleEntry['personal'] {
  if (row.detailHash === null) return { state: 'none' };
  if (row.salt !== null && row.body !== null) return { state: 'kept', salt: row.salt, body: row.body };
  if (row.erasedBy === null) return { state: 'missing' };
  return { state: 'erased', by: row.erasedBy, at: row.erasedAt ?? '', reason: row.eraseReason ?? '' };
}

async function linkBlocks(query: Query, blocks: ReadonlyMap<number, Block>): Promise<Block[]> {
  const numbers = [...blocks.keys()].sort((a, b) => a - b);
  const first = numbers[0];
  const last = numbers.at(-1);
  const own = numbers.flatMap((number) => blocks.get(number) ?? []);
  if (first === undefined || last === undefined || last - first >= maxLinkedBlocks) return own;
  const linked: Block[] = [];
  for await (const block of readBlocks(query, { from: first, to: last })) linked.push(block);
  return linked;
}

const refuse = (code: string, why: string) => new AppError(code, why, { retryable: false });
