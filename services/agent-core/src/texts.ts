/** Everything Steward says by itself, in the languages it speaks. A missing translation does not compile. */
export type Language = 'zh' | 'en';

type StatusFacts = { well: boolean; version: string; clock: string; waiting: string; unsettled: string; model: string };

export type QuotaFacts = {
  month: string;
  used: number;
  perMonth: number | null;
  percent: string;
  runsOutOn: string | null;
  /** Inbound events of the month, and how many the edition lets through. */
  messages: number;
  messagesPerMonth: number | null;
  uses: readonly { what: string; used: number }[];
};

export const texts = {
  help: {
    zh: (model: boolean) =>
      [
        '我是 Steward，运维助手。可以这样问我：',
        '- /help 这段说明',
        '- /ping 我还在吗',
        '- /whoami 我看到的你是谁',
        '- /room 这个群的编号和配置',
        '- /status 我现在的状态',
        '- /quota 本月的 API 调用量',
        model
          ? '- 其他任何话：我会直接回答。'
          : '- 其他任何话：尚未配置模型，请管理员在 config/steward.yaml 里填写 model。',
      ].join('\n'),
    en: (model: boolean) =>
      [
        'I am Steward, the assistant of this operations team. You can ask me:',
        '- /help this text',
        '- /ping am I still there',
        '- /whoami who you are to me',
        '- /room the id and settings of this room',
        '- /status how I am doing',
        '- /quota how much of the month’s API calls is spent',
        model
          ? '- anything else: I answer in plain words.'
          : '- anything else: no model is configured yet; an administrator can add `model` to config/steward.yaml.',
      ].join('\n'),
  },
  ping: { zh: 'pong，我在。', en: 'pong, I am here.' },
  unknownCommand: {
    zh: (name: string) => `我不认识命令 /${name}。发送 /help 查看可用命令。`,
    en: (name: string) => `I do not know the command /${name}. Send /help for the ones I know.`,
  },
  noModel: {
    zh: '还没有配置模型，所以我只能回答命令（发送 /help）。管理员可以在 config/steward.yaml 的 model 里填写 baseUrl、name 和 apiKeyFile，然后重启 agent-core。',
    en: 'No model is configured, so I can only answer commands (send /help). An administrator can set baseUrl, name and apiKeyFile under `model` in config/steward.yaml and restart agent-core.',
  },
  modelAway: {
    zh: '模型现在没有回应，请稍后再试。命令（/help）不受影响。',
    en: 'The model does not answer right now; please try again later. Commands (/help) still work.',
  },
  quota: {
    zh: (o: QuotaFacts) =>
      [
        `本月（${o.month}）已用 API 调用 ${o.used} 次${o.perMonth === null ? '，未配置配额' : `，配额 ${o.perMonth} 次，已用 ${o.percent} %`}。`,
        ...(o.runsOutOn === null ? [] : [`按目前的速度，将在 ${o.runsOutOn} 用完。`]),
        ...o.uses.map(({ what, used }) => `- ${what}：${used}`),
        `本月收到消息 ${o.messages} 条${o.messagesPerMonth === null ? '' : `，配额 ${o.messagesPerMonth} 条`}。`,
      ].join('\n'),
    en: (o: QuotaFacts) =>
      [
        `API calls this month (${o.month}): ${o.used}${o.perMonth === null ? '; no quota is configured' : ` of ${o.perMonth}, ${o.percent} %`}.`,
        ...(o.runsOutOn === null ? [] : [`At this pace they run out on ${o.runsOutOn}.`]),
        ...o.uses.map(({ what, used }) => `- ${what}: ${used}`),
        `Messages received this month: ${o.messages}${o.messagesPerMonth === null ? '' : ` of ${o.messagesPerMonth}`}.`,
      ].join('\n'),
  },
  linkWasDown: {
    zh: (from: string, to: string) => `我在 ${from} 到 ${to} 之间与钉钉断线了。如果我漏了您的消息，请再发一次。`,
    en: (from: string, to: string) =>
      `My link to DingTalk was down from ${from} to ${to}. If I missed something you said, please repeat it.`,
  },
  messagesSpent: {
    zh: '钉钉说本月的机器人消息额度已用完，您刚才说的话没有送到我这里。请联系管理员升级套餐，或下月再试。',
    en: 'DingTalk says that this month’s robot messages are used up: what you just said did not reach me. Ask your administrator to raise the plan, or try again next month.',
  },
  quotaSpent: {
    zh: (quota: 'api_calls' | 'messages') =>
      quota === 'api_calls'
        ? '钉钉说本月的 API 调用额度已用完：在升级套餐或下月之前，只有直接回复还能发出。/quota 可查看用量明细。'
        : '钉钉说本月的机器人消息额度已用完：在升级套餐或下月之前，机器人收不到任何消息。',
    en: (quota: 'api_calls' | 'messages') =>
      quota === 'api_calls'
        ? 'DingTalk says that this month’s API calls are used up: until the plan is raised or the month ends only direct replies leave. /quota says on what they were spent.'
        : 'DingTalk says that this month’s robot messages are used up: until the plan is raised or the month ends nothing that people say reaches the robot.',
  },
  unsupported: {
    zh: (msgtype: string) => `我还看不懂这种消息（${msgtype}），请发送文字。`,
    en: (msgtype: string) => `I cannot read this kind of message yet (${msgtype}); please send text.`,
  },
  picturesIgnored: {
    zh: '（我还看不了图片，只读了文字。）',
    en: '(I cannot read pictures yet; I read only the text.)',
  },
  turnFailed: {
    zh: (reference: string) => `处理这条消息时出错了，已记录。请再试一次；若仍失败，请把编号 ${reference} 交给管理员。`,
    en: (reference: string) =>
      `Something went wrong with this request; it is recorded. Please try again, and if it fails again give ${reference} to an administrator.`,
  },
  sameError: {
    zh: (count: number) => `（同样的错误此前还出现过 ${count} 次，没有重复提示。）`,
    en: (count: number) => `(The same happened ${count} more times before; I did not repeat it.)`,
  },
  coolDown: {
    zh: (seconds: number) =>
      `这里连续出错，我暂停 ${seconds} 秒再处理后面的请求，它们不会丢。命令（/help、/stop）不受影响。`,
    en: (seconds: number) =>
      `Several requests in a row failed here, so I pause for ${seconds} s before the next ones; none of them is lost. Commands (/help, /stop) still work.`,
  },
  robotLoop: {
    zh: '这里连续几条消息的发送者都不是本组织成员，看起来像是机器人在互相对话，我先不再回答。本组织的人发言后，或五分钟内没有这类消息后，我会继续。',
    en: 'The last messages here all came from senders that are nobody of this organisation, as when robots answer each other, so I stay silent. I go on when somebody of this organisation writes, or after five minutes without such messages.',
  },
  roomIsFull: {
    zh: (waiting: number) =>
      `这里还有 ${waiting} 条请求在排队，我先处理它们；之后发来的暂不处理，请稍后再发。命令（/help、/stop）不受影响。`,
    en: (waiting: number) =>
      `I have ${waiting} of your requests waiting and work on those first. What comes on top of them is not run; please send it again later. Commands (/help, /stop) still work.`,
  },
  unknownRoom: {
    zh: (room: string) =>
      `这个群还没有登记，所以我不在这里回答。请管理员把群编号 ${room} 加入 config/steward.yaml 的 rooms。`,
    en: (room: string) =>
      `This room is not registered, so I do not answer here. An administrator can add the room id ${room} to rooms in config/steward.yaml.`,
  },
  unknownPerson: {
    zh: (staffId: string) =>
      `我还不认识你，所以不能在单聊里回答。请管理员把员工编号 ${staffId} 加入 config/steward.yaml 的 people。`,
    en: (staffId: string) =>
      `I do not know you yet, so I do not answer in a single chat. An administrator can add the staff id ${staffId} to people in config/steward.yaml.`,
  },
  whoami: {
    zh: (o: { nick: string; staffId: string; roles: string }) =>
      `你是 ${o.nick}\n- 员工编号：${o.staffId}\n- 角色：${o.roles}`,
    en: (o: { nick: string; staffId: string; roles: string }) =>
      `You are ${o.nick}\n- staff id: ${o.staffId}\n- roles: ${o.roles}`,
  },
  room: {
    zh: (o: { place: string; id: string; robot: string; environment: string }) =>
      `这里是 ${o.place}\n- 会话编号：${o.id}\n- 机器人：${o.robot}\n- 环境：${o.environment}`,
    en: (o: { place: string; id: string; robot: string; environment: string }) =>
      `This is ${o.place}\n- conversation id: ${o.id}\n- robot: ${o.robot}\n- environment: ${o.environment}`,
  },
  status: {
    zh: (o: StatusFacts) =>
      `${o.well ? '一切正常' : '有请求或回复在等待'}\n- 版本：${o.version}\n- 时间：${o.clock}\n- 排队中的请求：${o.waiting}\n- 未确认的回复：${o.unsettled}\n- 模型：${o.model}`,
    en: (o: StatusFacts) =>
      `${o.well ? 'All is well' : 'Requests or answers are waiting'}\n- version: ${o.version}\n- time: ${o.clock}\n- requests waiting: ${o.waiting}\n- answers not confirmed: ${o.unsettled}\n- model: ${o.model}`,
  },
  none: { zh: '无', en: 'none' },
  notConfigured: { zh: '未配置', en: 'not configured' },
} as const;
