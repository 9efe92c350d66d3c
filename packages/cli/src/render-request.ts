import type { ApprovalRequest } from './find-requests.ts';
import { renderTable } from './render-table.ts';
import { toLocalTime } from './to-local-time.ts';
import { toVisible, toVisibleJson } from './to-visible.ts';

const approvals = ({ votes }: ApprovalRequest) => votes.filter(({ decision }) => decision === 'approve').length;

/** Requests as a table: what they ask for, how far they are, until when they wait. Pure. */
export function renderRequests(requests: readonly ApprovalRequest[], timeZone: string): string[] {
  if (requests.length === 0) return ['nothing waits for a decision'];
  const titles = ['CODE', 'STATUS', 'TOOL', 'EFFECT', 'ENVIRONMENT', 'ROOM', 'REQUESTER', 'APPROVALS', 'UNTIL'];
  const rows = requests.map((request) => [
    request.code,
    request.status,
    request.tool,
    request.effect,
    request.environment,
    request.card.room,
    `${request.card.requesterName} (${request.requesterStaffId})`,
    `${approvals(request)}/${request.quorum}`,
    toLocalTime(request.endedAt ?? request.runBy ?? request.approveBy, timeZone),
  ]);
  return renderTable(titles, rows);
}

/** Everything that is known of a request, with every byte of its arguments and its preview. Pure. */
export function renderRequest(request: ApprovalRequest, timeZone: string): string[] {
  const { card } = request;
  const at = (time: string | null) => toLocalTime(time, timeZone);
  const lines: [string, string][] = [
    ['code', `${request.code} (${request.status})`],
    ['tool', `${request.tool}: ${card.description}`],
    ['effect', `${request.effect} in ${request.environment}`],
    [
      'requester',
      `${card.requesterName} (staffId ${request.requesterStaffId}, organisation ${request.requesterCorpId})`,
    ],
    ['room', `${card.room} (robot ${request.robotCode}, conversation ${request.conversationId})`],
    ['approvers', renderApprovers(request)],
    ['approvals', `${approvals(request)} of ${request.quorum}`],
    ['asked', at(request.createdAt)],
    ['decide until', at(request.approveBy)],
    ['run until', request.runBy === null ? `${request.runWithinSeconds} s after the decision` : at(request.runBy)],
    ['decided', at(request.decidedAt)],
    ['ended', `${at(request.endedAt)}${request.endReason === null ? '' : ` (${request.endReason})`}`],
    ['call', `${request.callStatus}${request.callCode === null ? '' : ` (${request.callCode})`}`],
    ['policy', `${request.policyIds.join(', ')} (set ${request.policyHash})`],
    ['digest', request.digest],
    ['correlation id', request.correlationId],
  ];
  return [
    ...lines.map(([name, text]) => `${name.padEnd(15)} ${toVisible(text)}`),
    ...request.votes.map((vote) => `${'decision'.padEnd(15)} ${toVisible(renderVote(vote, timeZone))}`),
    '',
    `arguments ${toVisibleJson(request.arguments)}`,
    `preview ${toVisibleJson(request.preview)}`,
  ];
}

function renderApprovers({ approverGroups, quorum, reasonRequired, selfApproval }: ApprovalRequest): string {
  const groups = approverGroups.map((group) => group.join(' or ')).join(', and ');
  const extra = [
    ...(reasonRequired ? ['a reason is required'] : []),
    ...(selfApproval ? ['the requester may too'] : []),
  ];
  return [`${quorum} of ${groups}`, ...extra].join('; ');
}

function renderVote(vote: ApprovalRequest['votes'][number], timeZone: string): string {
  const reason = vote.reason === null ? '' : `: ${vote.reason}`;
  return `${vote.decision} by ${vote.staffId} as ${vote.roles.join(', ')} through ${vote.door}, ${toLocalTime(vote.votedAt, timeZone)}${reason}`;
}
