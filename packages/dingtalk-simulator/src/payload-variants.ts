/** The shapes of a robot callback that a receiver must survive (reference section 1.2 and checklist item 15). */
export const variantNames = [
  'noSenderStaffId',
  'emptySenderStaffId',
  'noIsAdmin',
  'noRobotCode',
  'unknownMsgType',
  'futureMsgType',
  'richTextPicture',
  'picture',
  'audio',
  'video',
  'file',
  'quotedReply',
  'textInContent',
  'numbersAsStrings',
  'overQuota',
] as const;

export type PayloadVariant = (typeof variantNames)[number];
type Payload = Record<string, unknown>;

/** The payload in another of its known shapes; pure. Several variants are applied in the order given. */
export function applyVariants(payload: Payload, variants: readonly PayloadVariant[]): Payload {
  return variants.reduce(applyVariant, payload);
}

function applyVariant(payload: Payload, variant: PayloadVariant): Payload {
  switch (variant) {
    case 'noSenderStaffId':
      return without(payload, 'senderStaffId', 'senderUnionId');
    case 'emptySenderStaffId':
      return { ...payload, senderStaffId: '' };
    case 'noIsAdmin':
      return without(payload, 'isAdmin');
    case 'noRobotCode':
      return without(payload, 'robotCode');
    case 'quotedReply':
      return quoted(payload);
    case 'textInContent':
      // Guide sample of HTTP mode: a top-level string, where every other source has text.content.
      return { ...without(payload, 'text'), content: textOf(payload) };
    case 'numbersAsStrings':
      return Object.fromEntries(Object.entries(payload).map(([k, v]) => [k, typeof v === 'number' ? `${v}` : v]));
    case 'overQuota':
      // Section 6.3: no text and no content at all.
      return { ...without(payload, 'text', 'content'), errorCode: 20001, errorMessage: OVER_QUOTA_TEXT };
    case 'richTextPicture': {
      const richText = [{ text: textOf(payload) }, { type: 'picture', ...picture }];
      return { ...without(payload, 'text'), msgtype: 'richText', content: { richText } };
    }
    case 'unknownMsgType':
    case 'futureMsgType':
    case 'picture':
    case 'audio':
    case 'video':
    case 'file':
      return { ...without(payload, 'text'), ...contents[variant] };
  }
}

const OVER_QUOTA_TEXT = '受调用量超量影响，当前我的消息服务已经暂停…';
const picture = { downloadCode: 'mIof', pictureDownloadCode: 'pWjA' };
const contents = {
  unknownMsgType: {
    msgtype: 'unknownMsgType',
    content: { unknownMsgType: '用户发送了一条消息，机器人暂不支持接收。' },
  },
  // A type of tomorrow: the default branch is mandatory for a receiver.
  futureMsgType: { msgtype: 'interactiveCard', content: { biz_custom_action_url: 'x' } },
  picture: { msgtype: 'picture', content: picture },
  audio: { msgtype: 'audio', content: { duration: 4000, downloadCode: 'mIof', recognition: 'speech to text' } },
  video: { msgtype: 'video', content: { duration: 4000, downloadCode: 'mIof', videoType: 'mp4' } },
  file: { msgtype: 'file', content: { downloadCode: 'mIof', fileName: 'a.pdf', spaceId: '223', fileId: '117' } },
};

function quoted(payload: Payload): Payload {
  const repliedMsg = {
    msgId: 'msgQuoted==',
    msgType: 'text',
    senderId: payload.chatbotUserId,
    createdAt: 1,
    content: {},
  };
  const text = { content: textOf(payload), isReplyMsg: true, repliedMsg };
  return { ...payload, text, originalMsgId: 'msgQuoted==', originalProcessQueryKey: 'pqkQuoted' };
}

function textOf(payload: Payload): string {
  const text = payload.text;
  if (typeof text !== 'object' || text === null || !('content' in text)) return '';
  return typeof text.content === 'string' ? text.content : '';
}

function without(payload: Payload, ...names: string[]): Payload {
  return Object.fromEntries(Object.entries(payload).filter(([name]) => !names.includes(name)));
}
