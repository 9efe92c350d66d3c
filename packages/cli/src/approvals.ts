import { AppError, type StewardConfig } from '@steward/service-kit';
import { approvalDigest, canonicalJson } from '@steward/governance';
import type { Query } from '@steward/postgres';
import { askOperator } from './ask-operator.ts';
import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { findRequest, listRequests, type ApprovalRequest } from './find-requests.ts';
import { findPerson } from './find-person.ts';
import { loadConfig, readTimeZone, type ConfigOptions } from './load-config.ts';
import { signClaims } from './operator-key.ts';
import { renderRequest, renderRequests } from './render-request.ts';

type Which = { environment?: string; corp?: string };
export type ListOptions = ConfigOptions & { environment?: string; days?: number; json?: boolean };
export type ShowOptions = ConfigOptions & Which & { json?: boolean };
export type DenyOptions = Which & { reason: string };
export type ApproveOptions = ConfigOptions & Which & { key: string; as: string; reason?: string; yes?: boolean };

/** `approvals list`: what waits, and with `days` what ended lately. */
export async function listApprovals(context: CliContext, query: Query, options: ListOptions): Promise<ExitCode> {
  const requests = await listRequests(query, options);
  if (options.json === true) context.print(JSON.stringify(requests, null, 2));
  else renderRequests(requests, readTimeZone(context, options)).forEach(context.print);
  return exitCodes.done;
}

/** `approvals show`: one request, every byte of it. */
export async function showApproval(
  context: CliContext,
  query: Query,
  code: string,
  options: ShowOptions,
): Promise<ExitCode> {
  const request = await findRequest(query, { code, ...options });
  if (options.json === true) context.print(JSON.stringify(request, null, 2));
  else renderRequest(request, readTimeZone(context, options)).forEach(context.print);
  return exitCodes.done;
}

/** `approvals deny`: goes on the operating system's word, since it stops and never starts anything (note A6). */
export async function denyApproval(
  context: CliContext,
  query: Query,
  code: string,
  options: DenyOptions,
): Promise<ExitCode> {
  const request = await findRequest(query, { code, ...options });
  const { environment, requesterCorpId: corpId } = request;
  const body = { environment, corpId, code: request.code, reason: options.reason };
  return askOperator(context, query, [{ verb: 'approvals.deny', body }]);
}

/**
 * `approvals approve`: prints every byte of what would be called, asks, and signs its digest with the operator's key: a vote of
 * the person whose key it is. The digest is made anew from what was printed, so nobody signs what was not shown.
 */
export async function approveApproval(
  context: CliContext,
  query: Query,
  code: string,
  options: ApproveOptions,
): Promise<ExitCode> {
  const config = loadConfig(context, options);
  const request = await findRequest(query, { code, ...options });
  const { staffId, corpId } = findPerson(config, options.as, request.requesterCorpId);
  assertDigest(config, request);
  renderRequest(request, config.timeZone).forEach(context.print);
  if (options.yes !== true && !(await context.confirm(`approve ${request.code} as ${staffId}?`))) {
    context.warn('nothing was approved; at a terminal answer y, in a script give --yes');
    return exitCodes.no;
  }
  const claims = {
    environment: request.environment,
    code: request.code,
    digest: request.digest,
    reason: options.reason ?? null,
    staffId,
    corpId,
    at: context.now().toISOString(),
  };
  const signature = signClaims({ keyFile: options.key, verb: 'approvals.approve', claims });
  return askOperator(context, query, [{ verb: 'approvals.approve', body: { ...claims, signature } }]);
}

/** Throws APPROVAL_ALTERED unless what is printed is what the digest was made of. */
function assertDigest(config: StewardConfig, request: ApprovalRequest): void {
  const robot = config.robots.find((one) => one.code === request.robotCode);
  const digest = approvalDigest({
    requestId: request.id,
    definitionHash: request.definitionHash,
    arguments: request.arguments,
    requester: { corpId: request.requesterCorpId, staffId: request.requesterStaffId },
    room: { robotCode: request.robotCode, conversationId: request.conversationId },
    robot: robot?.name ?? '',
    environment: request.environment,
  }).toString('hex');
  const isShown = canonicalJson(request.arguments) === canonicalJson(request.card.arguments);
  if (digest === request.digest && isShown) return;
  throw new AppError(
    'APPROVAL_ALTERED',
    'the digest of this request does not fit what it shows: it was altered, or the configuration is another one than that of ' +
      'agent-core (--config); nothing was signed',
    { retryable: false },
  );
}
