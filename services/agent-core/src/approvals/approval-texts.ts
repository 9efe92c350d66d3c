import type { Environment } from '@steward/contracts';
import type { Effect, VoteRefusal } from '@steward/governance';

/** Why a decision does not count. */
export type RefusalReason = VoteRefusal | 'wrong_place' | 'question' | 'vote_after_expiry' | 'digest';

type ApprovalTexts = {
  title: (code: string, tool: string) => string;
  risk: (effect: Effect, environment: Environment) => string;
  requester: string;
  room: string;
  what: string;
  argument: string;
  preview: string;
  approvers: string;
  or: string;
  and: string;
  state: (have: number, need: number) => string;
  approveBy: string;
  runWithin: string;
  minutes: (count: number) => string;
  how: (code: string, reasonRequired: boolean) => string;
  tooLarge: (code: string) => string;
  tooLargeToShow: (code: string) => string;
  whole: string;
  digest: string;
  status: Record<'pending' | 'approved' | 'denied' | 'expired' | 'cancelled' | 'void' | 'used', string>;
  /** Where a status has more than one meaning: `<status> <why>`. */
  statusWhy: Readonly<Record<string, string>>;
  decided: (o: { code: string; tool: string; status: string; who: string; at: string; reason: string }) => string;
  unknown: (o: { code: string; tool: string; reference: string }) => string;
  /** A person, or the message that was its effect, settled what nobody knew. */
  resolved: (o: {
    code: string;
    tool: string;
    happened: boolean;
    who: string;
    reason: string;
    reference: string;
  }) => string;
  reminder: (o: { code: string; tool: string; approveBy: string }) => string;
  refused: Record<RefusalReason, string>;
  voted: (o: { code: string; have: number; need: number }) => string;
  approved: (o: { code: string; tool: string }) => string;
  denied: (o: { code: string; tool: string }) => string;
  alreadyDecided: (o: { code: string; status: string; who: string; at: string }) => string;
  notFound: (code: string) => string;
  usage: (verb: string) => string;
  none: string;
  pendingLine: (o: {
    code: string;
    tool: string;
    requester: string;
    approveBy: string;
    have: number;
    need: number;
  }) => string;
  cancelled: (code: string) => string;
  notYours: (code: string) => string;
  stopped: (count: number) => string;
  nothingToStop: string;
  frozen: (o: { environment: string; open: number; queued: number }) => string;
  alreadyFrozen: (environment: string) => string;
  thawed: (o: { environment: string; waiting: number }) => string;
  notFrozen: (environment: string) => string;
  needsAnother: string;
  noRole: (roles: string) => string;
  glassBroken: (o: { tool: string; until: string }) => string;
  glassUnreviewed: (o: { who: string; tool: string; at: string }) => string;
  glassTold: (o: { who: string; tool: string; until: string; reason: string; room: string }) => string;
  glassUsage: (maxMinutes: number) => string;
  glassTool: (tool: string) => string;
  reviewed: string;
  nothingToReview: string;
  reviewOpen: (o: { who: string; tool: string; at: string; reason: string; uses: number }) => string;
};

const en: ApprovalTexts = {
  title: (code, tool) => `Approval ${code}: ${tool}`,
  risk: (effect, environment) =>
    effect === 'destructive'
      ? `**Destructive** in ${environment}: it may not be undone.`
      : `Changes something in ${environment}.`,
  requester: 'asked by',
  room: 'place',
  what: 'what it does',
  argument: 'with',
  preview: 'now',
  approvers: 'who may approve',
  or: ' or ',
  and: ' and ',
  state: (have, need) => `approvals: ${have} of ${need}`,
  approveBy: 'decide by',
  runWithin: 'runs within',
  minutes: (count) => `${count} min of the decision`,
  how: (code, reasonRequired) =>
    `/approve ${code}${reasonRequired ? ' <reason>' : ''}  ·  /deny ${code} <reason>  ·  /show ${code}`,
  tooLarge: (code) =>
    `the arguments do not fit here: /show ${code} has every byte, and only who has seen them can approve`,
  tooLargeToShow: (code) =>
    `${code} is too large to be shown in a chat. \`steward approvals show ${code}\` prints every byte, and \`steward approvals approve\` decides.`,
  whole: 'every byte',
  digest: 'digest',
  status: {
    pending: 'waiting for approvers',
    approved: 'approved',
    denied: 'denied',
    expired: 'expired: nobody decided in time, so the answer is no',
    cancelled: 'cancelled',
    void: 'void',
    used: 'approved and run',
  },
  statusWhy: {
    'expired run_by': 'approved, but it did not run in time; ask again if it is still wanted',
    'cancelled requester': 'cancelled by the requester',
    'cancelled stopped': 'stopped by the requester',
    'cancelled operator': 'refused by an operator at the command line',
    'cancelled turn_over': 'cancelled: the turn that asked for it was given up',
    'void definition_changed': 'void: the tool was changed after it was asked',
    'void preview_changed': 'void: what it would change is not as it was shown',
    'used failed': 'approved and run: it failed',
  },
  decided: ({ code, tool, status, who, at, reason }) =>
    `${code} ${tool}: ${status}${who === '' ? '' : ` by ${who}`} at ${at}${reason === '' ? '' : `: ${reason}`}`,
  unknown: ({ code, tool, reference }) =>
    `${tool} (${code}): nobody knows whether it happened. Look at the system before anybody asks again. Reference ${reference}`,
  resolved: ({ code, tool, happened, who, reason, reference }) =>
    `${tool} (${code}): it ${happened ? 'did happen' : 'did not happen, and is not done again by itself'}, says ${who}: ${reason}. Reference ${reference}`,
  reminder: ({ code, tool, approveBy }) =>
    `${code} (${tool}) still waits for a decision, until ${approveBy}. /show ${code}  ·  /approve ${code}  ·  /deny ${code} <reason>`,
  refused: {
    vote_of_requester: 'You asked for this yourself; another person must decide.',
    vote_without_role: 'You do not hold a role that may decide this.',
    vote_of_another_corp: 'This request belongs to another organisation.',
    vote_on_closed_request: 'This request is closed.',
    vote_of_unknown_person: 'DingTalk does not vouch for who you are, so your decision does not count.',
    wrong_place:
      'A decision counts in the room where it was asked, in the approvals room, or in a single chat with me.',
    vote_repeated: 'You have decided on this already; a vote is not taken back.',
    vote_without_reason: 'Please add a reason.',
    vote_unseen: 'Look at every byte with /show first; this one does not fit a card.',
    question: 'That is a question, so it decides nothing.',
    vote_after_expiry: 'The time to decide is over.',
    digest: 'This button belongs to another version of the request.',
  },
  voted: ({ code, have, need }) => `Noted: ${code} has ${have} of ${need} approvals.`,
  approved: ({ code, tool }) => `${code} ${tool}: approved. It runs now.`,
  denied: ({ code, tool }) => `${code} ${tool}: denied.`,
  alreadyDecided: ({ code, status, who, at }) =>
    `${code} is closed: ${status}${who === '' ? '' : ` by ${who}`} at ${at}.`,
  notFound: (code) => `There is no request ${code} here. /pending shows what waits.`,
  usage: (verb) => `Like this: /${verb} 7F3K${verb === 'deny' ? ' <reason>' : ''}`,
  none: 'Nothing waits for a decision here.',
  pendingLine: ({ code, tool, requester, approveBy, have, need }) =>
    `- ${code} ${tool}, asked by ${requester}, ${have} of ${need}, until ${approveBy}`,
  cancelled: (code) => `${code} is cancelled. (Taking back the chat line alone would not have cancelled it.)`,
  notYours: (code) => `${code} was asked for by somebody else; only they can cancel it.`,
  stopped: (count) => `Stopped ${count} of your requests here. A change that had begun already is not undone.`,
  nothingToStop: 'Nothing of yours is running or waiting here.',
  frozen: ({ environment, open, queued }) =>
    `${environment} is frozen: no change starts, reads go on. Already begun and not stopped by this: ${open}; sends already asked for: ${queued}. /unfreeze needs another person.`,
  alreadyFrozen: (environment) => `${environment} is frozen already.`,
  thawed: ({ environment, waiting }) => `${environment} is open again. Approved changes that were held: ${waiting}.`,
  notFrozen: (environment) => `${environment} is not frozen.`,
  needsAnother: 'Whoever froze cannot unfreeze; another person must.',
  noRole: (roles) => (roles === '' ? 'No role is configured for this.' : `This needs one of the roles ${roles}.`),
  glassBroken: ({ tool, until }) =>
    `Glass broken: until ${until} you may call ${tool} here without approval. Everybody was told, and somebody else must sign it off with /review.`,
  glassUnreviewed: ({ who, tool, at }) =>
    `Not before the last break-glass is signed off with /review by somebody else: ${who}, ${tool}, ${at}.`,
  glassTold: ({ who, tool, until, reason, room }) =>
    `⚠ ${who} broke glass in ${room} for ${tool} until ${until}: ${reason}. Sign it off with /review <note>.`,
  glassUsage: (maxMinutes) => `Like this: /breakglass <minutes, at most ${maxMinutes}> <tool> <reason>`,
  glassTool: (tool) => `There is no tool ${tool} here.`,
  reviewed: 'Signed off.',
  nothingToReview: 'Nothing waits for review.',
  reviewOpen: ({ who, tool, at, reason, uses }) =>
    `To be signed off by somebody else with /review <note>: ${who} broke glass for ${tool} at ${at} (${uses} calls): ${reason}`,
};

const zh: ApprovalTexts = {
  title: (code, tool) => `审批 ${code}：${tool}`,
  risk: (effect, environment) =>
    effect === 'destructive' ? `**破坏性操作**（${environment}）：可能无法撤销。` : `将修改 ${environment} 环境。`,
  requester: '申请人',
  room: '地点',
  what: '作用',
  argument: '参数',
  preview: '当前',
  approvers: '可审批',
  or: ' 或 ',
  and: ' 且 ',
  state: (have, need) => `已批准：${have}/${need}`,
  approveBy: '审批截止',
  runWithin: '执行时限',
  minutes: (count) => `批准后 ${count} 分钟内`,
  how: (code, reasonRequired) =>
    `同意：/approve ${code}${reasonRequired ? ' 原因' : ''}  ·  拒绝：/deny ${code} 原因  ·  查看：/show ${code}`,
  tooLarge: (code) => `参数太长，此处放不下：发送 /show ${code} 查看全部内容，看过的人才能批准`,
  tooLargeToShow: (code) =>
    `${code} 太大，聊天里放不下。用 \`steward approvals show ${code}\` 查看全部内容，用 \`steward approvals approve\` 审批。`,
  whole: '全部内容',
  digest: '摘要',
  status: {
    pending: '等待审批',
    approved: '已批准',
    denied: '已拒绝',
    expired: '已过期：无人及时处理，视为拒绝',
    cancelled: '已取消',
    void: '已失效',
    used: '已批准并执行',
  },
  statusWhy: {
    'expired run_by': '已批准，但没有在时限内执行；仍需要请重新申请',
    'cancelled requester': '申请人已取消',
    'cancelled stopped': '申请人已停止',
    'cancelled operator': '运维人员在命令行拒绝',
    'cancelled turn_over': '已取消：提出它的请求已放弃',
    'void definition_changed': '已失效：申请之后工具有改动',
    'void preview_changed': '已失效：当前情况与展示时不同',
    'used failed': '已批准并执行：失败',
  },
  decided: ({ code, tool, status, who, at, reason }) =>
    `${code} ${tool}：${status}${who === '' ? '' : `（${who}）`}，${at}${reason === '' ? '' : `：${reason}`}`,
  unknown: ({ code, tool, reference }) =>
    `${tool}（${code}）：不清楚是否已执行，请先到系统里核实，不要直接重试。编号 ${reference}`,
  resolved: ({ code, tool, happened, who, reason, reference }) =>
    `${tool}（${code}）：${happened ? '已确认执行' : '已确认没有执行，不会自动重做'}（${who}：${reason}）。编号 ${reference}`,
  reminder: ({ code, tool, approveBy }) =>
    `${code}（${tool}）仍在等待审批，截止 ${approveBy}。/show ${code}  ·  /approve ${code}  ·  /deny ${code} 原因`,
  refused: {
    vote_of_requester: '这是你自己申请的，需要由别人审批。',
    vote_without_role: '你没有可以审批它的角色。',
    vote_of_another_corp: '这个申请属于另一个组织。',
    vote_on_closed_request: '这个申请已结束。',
    vote_of_unknown_person: '钉钉没有确认你的身份，所以你的决定无效。',
    wrong_place: '请在申请所在的群、审批群或与我的单聊里审批。',
    vote_repeated: '你已经处理过了，不能更改。',
    vote_without_reason: '请写明原因。',
    vote_unseen: '内容放不进卡片，请先用 /show 查看全部内容。',
    question: '这是一个问题，不算审批决定。',
    vote_after_expiry: '审批时间已过。',
    digest: '这个按钮属于另一个版本的申请。',
  },
  voted: ({ code, have, need }) => `已记录：${code} 已有 ${have}/${need} 人批准。`,
  approved: ({ code, tool }) => `${code} ${tool}：已批准，现在执行。`,
  denied: ({ code, tool }) => `${code} ${tool}：已拒绝。`,
  alreadyDecided: ({ code, status, who, at }) => `${code} 已结束：${status}${who === '' ? '' : `（${who}）`}，${at}。`,
  notFound: (code) => `这里没有申请 ${code}。发送 /pending 查看等待中的申请。`,
  usage: (verb) => `用法：/${verb} 7F3K${verb === 'deny' ? ' 原因' : ''}`,
  none: '这里没有等待审批的申请。',
  pendingLine: ({ code, tool, requester, approveBy, have, need }) =>
    `- ${code} ${tool}，申请人 ${requester}，${have}/${need}，截止 ${approveBy}`,
  cancelled: (code) => `${code} 已取消。（只撤回聊天消息不会取消申请。）`,
  notYours: (code) => `${code} 不是你申请的，只有申请人能取消。`,
  stopped: (count) => `已停止你在这里的 ${count} 个请求。已经开始的修改不会撤销。`,
  nothingToStop: '你在这里没有正在进行或等待的请求。',
  frozen: ({ environment, open, queued }) =>
    `${environment} 已冻结：不再开始任何修改，查询不受影响。已开始、不受影响的：${open}；已请求的发送：${queued}。解冻（/unfreeze）需要另一个人。`,
  alreadyFrozen: (environment) => `${environment} 已经是冻结状态。`,
  thawed: ({ environment, waiting }) => `${environment} 已解冻。等待执行的已批准操作：${waiting}。`,
  notFrozen: (environment) => `${environment} 没有冻结。`,
  needsAnother: '冻结的人不能自己解冻，需要另一个人。',
  noRole: (roles) => (roles === '' ? '没有为此配置角色。' : `需要以下角色之一：${roles}。`),
  glassBroken: ({ tool, until }) =>
    `已紧急放行：${until} 前你可以在这里直接调用 ${tool}。已通知大家，之后必须由别人用 /review 复核。`,
  glassUnreviewed: ({ who, tool, at }) => `上一次紧急放行还没有被别人用 /review 复核：${who}，${tool}，${at}。`,
  glassTold: ({ who, tool, until, reason, room }) =>
    `⚠ ${who} 在 ${room} 对 ${tool} 紧急放行，至 ${until}：${reason}。请用 /review 说明 复核。`,
  glassUsage: (maxMinutes) => `用法：/breakglass 分钟（最多 ${maxMinutes}） 工具 原因`,
  glassTool: (tool) => `这里没有工具 ${tool}。`,
  reviewed: '已复核。',
  nothingToReview: '没有等待复核的紧急放行。',
  reviewOpen: ({ who, tool, at, reason, uses }) =>
    `等待别人用 /review 说明 复核：${who} 于 ${at} 对 ${tool} 紧急放行（${uses} 次调用）：${reason}`,
};

/** What Steward says about approvals, in the languages it speaks. A missing translation does not compile. */
export const approvalTexts = { zh, en };
