import { sql, type Selectable } from 'kysely';
import { newId } from '@steward/service-kit';
import type { OutboundTarget } from '@steward/contracts';
import { appendAudit, type Db, type Trx } from '@steward/postgres';
import { approvalDigest } from '@steward/governance';
import type { AgentTables } from '../database.ts';
import type { BreakGlassTable } from '../governance-tables.ts';
import { actorOf, findTool, type GateContext, type GatedTurn } from '../gate/gate-context.ts';
import { recordCall, type JudgedCall } from '../gate/propose-call.ts';
import { transact } from '../gate/transact.ts';
import { quoteForMarkdown } from '../quote-for-markdown.ts';
import { renderClock } from '../render-clock.ts';
import { tellOutbound } from '../tell-outbound.ts';
import { toMarkdown } from '../to-markdown.ts';
import { approvalTexts } from './approval-texts.ts';
import { findApprovalsRoom } from './approvals-room.ts';
import { listPeople } from './request-approval.ts';
import { nameOf } from './tell-places.ts';

type Glass = Selectable<BreakGlassTable> & { is_open: boolean };

/** Told one by one where there is no approvals room: each costs a call of the monthly quota. */
const maxWitnesses = 5;

/**
 * `/breakglass <minutes> <tool> <reason>`: somebody with the role may call one tool here without approval for some minutes. The
 * approvers are told in the same transaction, and nobody of the environment can do it again before another person signed it off.
 */
export async function breakGlass(context: GateContext, gated: GatedTurn, argument: string): Promise<string> {
  const t = approvalTexts[context.language];
  const { turn, principal } = gated;
  const { breakGlassRoles, breakGlassMaxMinutes } = context.governance;
  const { corpId, staffId } = principal;
  if (staffId === null || !breakGlassRoles.some((role) => principal.roles.includes(role)))
    return refuse(context, gated, 'no_role', t.noRole(breakGlassRoles.join(', ')));
  const [, minutesText = '', toolName = '', reason = ''] = /^(\d{1,3})\s+(\S+)\s+([\s\S]+)$/.exec(argument) ?? [];
  const minutes = Number(minutesText);
  if (reason.trim() === '' || minutes < 1 || minutes > breakGlassMaxMinutes) return t.glassUsage(breakGlassMaxMinutes);
  if (findTool(context.tools, toolName, turn.environment) === null) return t.glassTool(quoteForMarkdown(toolName));
  const glass = { corp_id: corpId, staff_id: staffId, tool: toolName, reason: reason.trim().slice(0, 500) };
  const targets = await listWitnesses(context, gated);
  const opened = await transact(context, (trx) => openGlass(trx, context, gated, { ...glass, minutes, targets }));
  if (opened.correlation_id !== turn.correlationId) {
    const text = t.glassUnreviewed(toPlain(context, opened));
    return refuse(context, gated, 'unreviewed', text);
  }
  context.onTold();
  return t.glassBroken({ tool: quoteForMarkdown(toolName), until: renderClock(opened.until_at, context.timeZone) });
}

/** Who hears of it at once: the approvals room, or, where there is none, those who may sign it off, in their single chats. */
async function listWitnesses(context: GateContext, { turn, principal }: GatedTurn): Promise<OutboundTarget[]> {
  const room = findApprovalsRoom(context, turn.environment);
  if (room !== null) return [{ kind: 'group', ...room }];
  const reviewers = await listPeople(context, principal.corpId, [context.governance.reviewRoles]);
  return reviewers
    .filter(
      ({ roles, staffId }) =>
        staffId !== principal.staffId && context.governance.reviewRoles.some((role) => roles.includes(role)),
    )
    .slice(0, maxWitnesses)
    .map(({ staffId }) => ({ kind: 'person', robotCode: turn.robotCode, staffId }));
}

/** The glass that is now open: ours, or the one of somebody before that nobody has signed off. */
async function openGlass(
  trx: Trx<AgentTables>,
  context: GateContext,
  { turn, access, principal }: GatedTurn,
  glass: Pick<Glass, 'corp_id' | 'staff_id' | 'tool' | 'reason'> & { minutes: number; targets: OutboundTarget[] },
): Promise<Glass> {
  const { minutes, targets } = glass;
  const { rows } = await sql`
    insert into agent_core.break_glass
      (id, environment, robot_code, conversation_id, corp_id, staff_id, tool, reason, correlation_id, until_at)
    values (${newId()}, ${turn.environment}, ${turn.robotCode}, ${turn.conversationId}, ${glass.corp_id}, ${glass.staff_id},
      ${glass.tool}, ${glass.reason}, ${turn.correlationId}, now() + ${minutes} * interval '1 minute')
    on conflict (environment) where reviewed_at is null do nothing
    returning id`.execute(trx);
  const open = await loadOpenGlass(trx, turn.environment);
  if (open === undefined) throw new Error('the glass that was just broken is not there');
  if (rows.length === 0) return open;
  await appendAudit(trx, 'agent-core', [
    {
      kind: 'glass.broken',
      outcome: 'open',
      correlationId: turn.correlationId,
      environment: turn.environment,
      robotCode: turn.robotCode,
      conversationId: turn.conversationId,
      actor: actorOf(principal),
      door: turn.inbound.door,
      subjectId: open.id,
      detail: { tool: glass.tool, minutes },
      personal: { reason: glass.reason },
    },
  ]);
  const text = approvalTexts[context.language].glassTold({
    who: quoteForMarkdown(nameOf(context, { corpId: open.corp_id, staffId: open.staff_id })),
    tool: quoteForMarkdown(open.tool),
    until: renderClock(open.until_at, context.timeZone),
    reason: quoteForMarkdown(open.reason),
    room: quoteForMarkdown(access.place),
  });
  for (const target of targets) {
    await tellOutbound(trx, {
      outboundMessageId: newId(),
      after: null,
      environment: turn.environment,
      lane: 'approval',
      target,
      content: toMarkdown(text),
      correlationId: turn.correlationId,
      causationId: open.id,
      now: context.now(),
    });
  }
  return open;
}

function loadOpenGlass(db: Db<AgentTables> | Trx<AgentTables>, environment: BreakGlassTable['environment']) {
  return (
    db
      .selectFrom('break_glass')
      .selectAll()
      // By the clock that the grant's own rule goes by.
      .select(sql<boolean>`until_at > clock_timestamp()`.as('is_open'))
      .where('environment', '=', environment)
      .where('reviewed_at', 'is', null)
      .executeTakeFirst()
  );
}

/**
 * Lets a call run under glass that its requester broke for this tool in this place, if there is any: the call gets a grant of
 * its own, bound to its digest and marked so (note A3). False: it must be asked for.
 */
export async function useBreakGlass(context: GateContext, gated: GatedTurn, judged: JudgedCall): Promise<boolean> {
  const { turn, principal } = gated;
  const { staffId, corpId } = principal;
  const glass = await loadOpenGlass(context.db, turn.environment);
  const isTheirs =
    glass !== undefined &&
    glass.corp_id === corpId &&
    glass.staff_id === staffId &&
    glass.tool === judged.tool &&
    glass.robot_code === turn.robotCode &&
    glass.conversation_id === turn.conversationId &&
    glass.is_open;
  if (!isTheirs) return false;
  const digest = approvalDigest({
    requestId: judged.id,
    definitionHash: judged.definitionHash ?? '',
    arguments: judged.arguments,
    requester: { corpId, staffId },
    room: { robotCode: turn.robotCode, conversationId: turn.conversationId },
    robot: context.directory.robots.get(turn.robotCode)?.name ?? '',
    environment: turn.environment,
  });
  await transact(context, async (trx) => {
    await recordCall(trx, gated, judged, { status: 'ready', code: 'break_glass' });
    const attempts = judged.known?.definition.repeatable ? 3 : 1;
    await trx
      .insertInto('tool_grant')
      .values({
        id: newId(),
        tool_call_id: judged.id,
        break_glass_id: glass.id,
        digest,
        run_by: glass.until_at,
        max_attempts: attempts,
      })
      .execute();
    await appendAudit(trx, 'agent-core', [
      {
        kind: 'grant.taken',
        outcome: 'break_glass',
        correlationId: turn.correlationId,
        environment: turn.environment,
        robotCode: turn.robotCode,
        conversationId: turn.conversationId,
        actor: actorOf(principal),
        subjectId: judged.id,
        digest: digest.toString('hex'),
        policyHash: judged.verdict.policyHash,
        detail: { tool: judged.tool, breakGlassId: glass.id },
      },
    ]);
  });
  return true;
}

/** `/review [note]`: without a note it shows what waits; with one, another person signs the break-glass off. */
export async function reviewGlass(context: GateContext, gated: GatedTurn, note: string): Promise<string> {
  const t = approvalTexts[context.language];
  const { turn, principal } = gated;
  const glass = await loadOpenGlass(context.db, turn.environment);
  if (glass === undefined) return t.nothingToReview;
  if (note.trim() === '')
    return t.reviewOpen({ ...toPlain(context, glass), uses: await countUses(context.db, glass.id) });
  const { reviewRoles } = context.governance;
  if (principal.staffId === null || !reviewRoles.some((role) => principal.roles.includes(role)))
    return refuse(context, gated, 'no_role', t.noRole(reviewRoles.join(', ')));
  if (principal.corpId === glass.corp_id && principal.staffId === glass.staff_id)
    return refuse(context, gated, 'requester', t.refused.vote_of_requester);
  const signedOff = await transact(context, async (trx) => {
    const { numUpdatedRows } = await trx
      .updateTable('break_glass')
      .set({
        reviewed_by_corp_id: principal.corpId,
        reviewed_by_staff_id: principal.staffId,
        review_note: note.trim().slice(0, 1_000),
        reviewed_at: sql<Date>`now()`,
      })
      .where('id', '=', glass.id)
      .where('reviewed_at', 'is', null)
      .executeTakeFirst();
    if (numUpdatedRows !== 1n) return false;
    await appendAudit(trx, 'agent-core', [
      {
        kind: 'glass.reviewed',
        outcome: 'signed_off',
        correlationId: glass.correlation_id,
        environment: turn.environment,
        robotCode: turn.robotCode,
        conversationId: turn.conversationId,
        actor: actorOf(principal),
        door: turn.inbound.door,
        subjectId: glass.id,
        detail: { tool: glass.tool, reviewCorrelationId: turn.correlationId },
        personal: { note: note.trim().slice(0, 1_000) },
      },
    ]);
    return true;
  });
  return signedOff ? t.reviewed : t.nothingToReview;
}

async function countUses(db: Db<AgentTables>, breakGlassId: string): Promise<number> {
  const { uses } = await db
    .selectFrom('tool_grant')
    .select((eb) => eb.fn.countAll<string>().as('uses'))
    .where('break_glass_id', '=', breakGlassId)
    .executeTakeFirstOrThrow();
  return Number(uses);
}

function toPlain(context: GateContext, glass: Glass) {
  return {
    who: quoteForMarkdown(nameOf(context, { corpId: glass.corp_id, staffId: glass.staff_id })),
    tool: quoteForMarkdown(glass.tool),
    at: renderClock(glass.opened_at, context.timeZone),
    reason: quoteForMarkdown(glass.reason),
  };
}

async function refuse(
  context: GateContext,
  { turn, principal }: GatedTurn,
  why: string,
  text: string,
): Promise<string> {
  await transact(context, (trx) =>
    appendAudit(trx, 'agent-core', [
      {
        kind: 'glass.refused',
        outcome: why,
        correlationId: turn.correlationId,
        environment: turn.environment,
        robotCode: turn.robotCode,
        conversationId: turn.conversationId,
        actor: actorOf(principal),
        door: turn.inbound.door,
        subjectId: turn.id,
      },
    ]),
  );
  return text;
}
