type ToolTexts = {
  runUsage: string;
  noSkill: (name: string) => string;
  skillUsage: (name: string, faults: string) => string;
  noTools: string;
  toolLine: (o: { name: string; description: string; judged: 'allow' | 'ask'; usage: string }) => string;
  noSkills: string;
  skillLine: (o: { name: string; description: string; usage: string }) => string;
  skillProblems: (lines: string) => string;
  done: (tool: string, decided: string) => string;
  failed: (tool: string, code: string) => string;
  refused: (tool: string, code: string, detail: string) => string;
  denied: (tool: string, decided: string, reason: string) => string;
  expired: (tool: string, code: string) => string;
  void: (tool: string, code: string) => string;
  waiting: (tool: string, code: string) => string;
};

/** Why a call was refused before anybody was asked, in words that say what to do. */
const refusedEn: Record<string, (detail: string) => string> = {
  forbidden: () => 'the policy forbids it here',
  no_rule: () => 'no policy permits it to you here; /tools shows what you may use',
  evaluation_error: () => 'the policy could not be evaluated, so the answer is no; tell an administrator',
  unknown_tool: () => 'there is no such tool here; /tools shows what you may use',
  invalid_arguments: (detail) => `the arguments do not fit: ${detail}`,
  unknown_person: () => 'DingTalk does not vouch for who you are',
  no_approver: (detail) => `nobody could approve it: it needs ${detail}`,
  already_waiting: (detail) => `the same is asked already: ${detail} (/show ${detail})`,
  too_many_of_requester: () => 'too many of your requests wait already; /cancel one or wait',
  too_many_of_room: () => 'too many requests of this room wait already',
  preview_failed: () => 'what it would change could not be read, so nobody could judge it',
};
const refusedZh: Record<string, (detail: string) => string> = {
  forbidden: () => '策略禁止在这里执行',
  no_rule: () => '没有策略允许你在这里执行；/tools 查看可用工具',
  evaluation_error: () => '策略无法判断，因此不允许；请告诉管理员',
  unknown_tool: () => '这里没有这个工具；/tools 查看可用工具',
  invalid_arguments: (detail) => `参数不符合要求：${detail}`,
  unknown_person: () => '钉钉没有确认你的身份',
  no_approver: (detail) => `没有人可以审批，需要 ${detail}`,
  already_waiting: (detail) => `相同的申请已在等待：${detail}（/show ${detail}）`,
  too_many_of_requester: () => '你等待中的申请太多，请先 /cancel 或稍等',
  too_many_of_room: () => '这个群等待中的申请太多',
  preview_failed: () => '无法读取将要修改的内容，因此不能审批',
};
const explain = (reasons: Record<string, (detail: string) => string>, code: string, detail: string) =>
  (Object.hasOwn(reasons, code) ? reasons[code]?.(detail) : undefined) ?? code;

const en: ToolTexts = {
  runUsage: 'Like this: /run <tool> key=value …   (/tools shows the tools)',
  noSkill: (name) => `There is no skill ${name}. /skills shows them.`,
  skillUsage: (name, faults) => `Like this: /skill ${name} key=value …${faults === '' ? '' : `   (${faults})`}`,
  noTools: 'There is no tool that you may use here.',
  toolLine: ({ name, description, judged, usage }) =>
    `- **${name}** ${judged === 'allow' ? 'runs at once' : 'asks for approval'}: ${description}\n  /run ${name} ${usage}`,
  noSkills: 'There are no skills.',
  skillLine: ({ name, description, usage }) => `- **${name}**: ${description}\n  /skill ${name} ${usage}`,
  skillProblems: (lines) => `Not usable here:\n${lines}`,
  done: (tool, decided) => `✅ ${tool}: done${decided === '' ? '' : `, approved by ${decided}`}`,
  failed: (tool, code) => `${tool}: failed, nothing was changed (${code})`,
  refused: (tool, code, detail) => `${tool}: refused, ${explain(refusedEn, code, detail)}`,
  denied: (tool, decided, reason) => `${tool}: denied by ${decided}${reason === '' ? '' : `: ${reason}`}`,
  expired: (tool, code) =>
    code === 'run_by'
      ? `${tool}: approved, but it could not run in time`
      : `${tool}: nobody decided in time, so the answer is no`,
  void: (tool, code) =>
    `${tool}: the approval is void, since something changed after it was asked (${code}). Ask again.`,
  waiting: (tool, code) => `${tool}: waiting for ${code === '' ? 'its outcome' : code}`,
};

const zh: ToolTexts = {
  runUsage: '用法：/run 工具 参数=值 …（/tools 查看工具）',
  noSkill: (name) => `没有技能 ${name}。/skills 查看全部。`,
  skillUsage: (name, faults) => `用法：/skill ${name} 参数=值 …${faults === '' ? '' : `（${faults}）`}`,
  noTools: '这里没有你可以使用的工具。',
  toolLine: ({ name, description, judged, usage }) =>
    `- **${name}** ${judged === 'allow' ? '直接执行' : '需要审批'}：${description}\n  /run ${name} ${usage}`,
  noSkills: '没有技能。',
  skillLine: ({ name, description, usage }) => `- **${name}**：${description}\n  /skill ${name} ${usage}`,
  skillProblems: (lines) => `这里不可用：\n${lines}`,
  done: (tool, decided) => `✅ ${tool}：完成${decided === '' ? '' : `，审批人 ${decided}`}`,
  failed: (tool, code) => `${tool}：失败，没有修改任何内容（${code}）`,
  refused: (tool, code, detail) => `${tool}：已拒绝，${explain(refusedZh, code, detail)}`,
  denied: (tool, decided, reason) => `${tool}：被 ${decided} 拒绝${reason === '' ? '' : `：${reason}`}`,
  expired: (tool, code) =>
    code === 'run_by' ? `${tool}：已批准，但没有在时限内执行` : `${tool}：无人及时审批，视为拒绝`,
  void: (tool, code) => `${tool}：申请之后情况有变，审批已失效（${code}），请重新申请。`,
  waiting: (tool, code) => `${tool}：等待${code === '' ? '结果' : ` ${code} 审批`}`,
};

/** What Steward says about tools and skills, in the languages it speaks. */
export const toolTexts = { zh, en };
