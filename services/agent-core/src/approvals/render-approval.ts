import type { Obligations } from '@steward/governance';
import type { ApprovalCard } from '../governance-tables.ts';
import { quoteExactly } from '../quote-exactly.ts';
import { quoteForMarkdown } from '../quote-for-markdown.ts';
import type { Language } from '../texts.ts';
import { approvalTexts } from './approval-texts.ts';

/** A value on a card, and all of them together, in characters: what does not fit is shown by `/show` alone (note A7). */
const maxValueLength = 1_000;
const maxCardLength = 3_000;
/** A longer line is broken by us: outbound-sender would break it where the next part begins with somebody else's words. */
const maxPieceLength = 500;

/** What is known of a request when it is shown. Clocks come rendered, with their zone. */
export type ShownRequest = {
  code: string;
  card: ApprovalCard;
  obligations: Pick<Obligations, 'approverGroups' | 'quorum' | 'reasonRequired'>;
  approvals: readonly { name: string }[];
  approveBy: string;
  runWithin: string;
  tooLarge: boolean;
};

/** Whether a card can show every byte of what is asked for. If not, it has no way to approve. */
export function fitsCard({ arguments: args, preview }: Pick<ApprovalCard, 'arguments' | 'preview'>): boolean {
  const shown = [args, preview ?? {}].flatMap((values) => renderValues('', values, { tellTwins: false }));
  const parts = [...Object.values(args), ...Object.values(preview ?? {})].map(toText);
  return parts.every((text) => text.length <= maxValueLength) && shown.join('').length <= maxCardLength;
}

/** The request as people see it: every word that is not ours is quoted, so that nobody can draw a card of their own. */
export function renderRequest(language: Language, request: ShownRequest): { title: string; text: string } {
  const t = approvalTexts[language];
  const values = request.tooLarge
    ? [`- ${t.tooLarge(request.code)}`]
    : renderAllValues(language, request.card, { tellTwins: false });
  return renderAround(language, request, values);
}

/** The same for `/show`, with every byte of arguments and preview, and the digest over them. Nothing is cut. */
export function renderWhole(language: Language, request: ShownRequest, digestHex: string): string {
  const t = approvalTexts[language];
  const values = [`- ${t.whole}:`, ...renderAllValues(language, request.card, { tellTwins: true })];
  return `${renderAround(language, request, values).text}\n${t.digest}: ${digestHex}`;
}

function renderAround(
  language: Language,
  request: ShownRequest,
  values: readonly string[],
): { title: string; text: string } {
  const t = approvalTexts[language];
  const { card, code, approvals, obligations } = request;
  const title = t.title(code, quoteForMarkdown(card.tool));
  const names = approvals.map(({ name }) => quoteForMarkdown(name)).join(', ');
  const lines = [
    `### ${title}`,
    t.risk(card.effect, card.environment),
    `- ${t.requester}: ${quoteForMarkdown(card.requesterName)} (${quoteForMarkdown(card.requesterStaffId)})`,
    `- ${t.room}: ${quoteForMarkdown(card.room)} · ${card.environment}`,
    `- ${t.what}: ${quoteForMarkdown(card.description)}`,
    ...values,
    `- ${t.approvers}: ${renderGroups(language, obligations)}`,
    `- ${t.state(approvals.length, obligations.quorum)}${names === '' ? '' : ` (${names})`}`,
    `- ${t.approveBy}: ${request.approveBy}`,
    `- ${t.runWithin}: ${request.runWithin}`,
    '',
    t.how(code, obligations.reasonRequired),
  ];
  return { title, text: lines.join('\n') };
}

function renderAllValues(language: Language, card: ApprovalCard, o: { tellTwins: boolean }): string[] {
  const t = approvalTexts[language];
  return [...renderValues(t.argument, card.arguments, o), ...renderValues(t.preview, card.preview ?? {}, o)];
}

/** Lines that begin with words of ours, however long the value: whoever writes one cannot begin a line with it. */
function renderValues(label: string, values: Readonly<Record<string, unknown>>, o: { tellTwins: boolean }): string[] {
  return Object.entries(values).flatMap(([name, value]) =>
    toPieces(`${quoteExactly(name, o)}: ${quoteExactly(toText(value), o)}`).map((piece, at) =>
      at === 0 ? `- ${label} ${piece}` : `  ↳ ${piece}`,
    ),
  );
}

function toPieces(text: string): string[] {
  const characters = Array.from(text);
  const count = Math.max(1, Math.ceil(characters.length / maxPieceLength));
  return Array.from({ length: count }, (_, at) =>
    characters.slice(at * maxPieceLength, (at + 1) * maxPieceLength).join(''),
  );
}

const toText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

function renderGroups(
  language: Language,
  { approverGroups, quorum }: Pick<Obligations, 'approverGroups' | 'quorum'>,
): string {
  const t = approvalTexts[language];
  return `${quorum} × ${approverGroups.map((roles) => roles.join(t.or)).join(t.and)}`;
}
