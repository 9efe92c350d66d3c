import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseRobotMessage } from './robot-message.ts';
import type { RobotMessageView } from './robot-message.ts';

const base = {
  msgtype: 'text',
  text: { content: ' deploy prod' },
  msgId: 'msgAbc+riw==',
  createAt: 1_760_000_000_000,
  conversationType: '2',
  conversationId: 'cidXyz==',
  conversationTitle: 'ops',
  senderId: '$:LWCP_v1:$aa',
  senderStaffId: '0147238602',
  senderNick: 'Li',
  senderCorpId: 'ding9733',
  isAdmin: false,
  chatbotCorpId: 'ding9733',
  chatbotUserId: '$:LWCP_v1:$bot',
  robotCode: 'dingoabc',
  isInAtList: true,
  atUsers: [{ dingtalkId: '$:LWCP_v1:$bot' }],
  senderPlatform: 'Mac',
  sessionWebhook: 'https://oapi.dingtalk.com/robot/sendBySession?session=66d7',
  sessionWebhookExpiredTime: 1_760_005_400_000,
};

function read(change: Record<string, unknown>): RobotMessageView {
  const parsed = parseRobotMessage({ ...base, ...change });
  if (!parsed.ok) throw new Error(parsed.faults);
  return parsed.view;
}
const content = (change: Record<string, unknown>) => read(change).content;
const text = (words: string, more: Record<string, unknown> = {}) => ({
  kind: 'text',
  text: words,
  quotedText: null,
  attachments: 0,
  ...more,
});

describe('robot message', () => {
  it('reads the reference sample', () => {
    expect(read({})).toEqual({
      msgId: 'msgAbc+riw==',
      robotCode: 'dingoabc',
      robotCorpId: 'ding9733',
      conversationId: 'cidXyz==',
      conversationKind: 'group',
      title: 'ops',
      sender: { staffId: '0147238602', corpId: 'ding9733', nick: 'Li' },
      createdAtMs: 1_760_000_000_000,
      content: text('deploy prod'),
      replyAddress: {
        sessionWebhook: 'https://oapi.dingtalk.com/robot/sendBySession?session=66d7',
        expiresAtMs: 1_760_005_400_000,
      },
      isInAtList: true,
      isOwnEcho: false,
      hadInvalidText: false,
    });
  });

  it('reads a single chat, which has no title and no at list', () => {
    const single = { conversationType: '1', conversationTitle: undefined, isInAtList: undefined, atUsers: undefined };
    expect(read(single)).toMatchObject({ conversationKind: 'single', title: null, isInAtList: false });
  });

  it('reads numbers as text and text as numbers', () => {
    const view = read({
      createAt: '1760000000000',
      sessionWebhookExpiredTime: '1760005400000',
      conversationType: 1,
      senderStaffId: 147,
    });
    expect(view).toMatchObject({
      createdAtMs: 1_760_000_000_000,
      conversationKind: 'single',
      replyAddress: { expiresAtMs: 1_760_005_400_000 },
      sender: { staffId: '147' },
    });
  });

  it.each([
    ['absent', undefined],
    ['empty', ''],
    ['null', null],
    ['too long', 'x'.repeat(201)],
    ['an object', {}],
  ])('knows no person when senderStaffId is %s', (_name, senderStaffId) => {
    expect(read({ senderStaffId }).sender.staffId).toBeNull();
  });

  it('takes a message without robotCode, isAdmin, corp and nick', () => {
    const view = read({ robotCode: undefined, isAdmin: undefined, senderCorpId: undefined, senderNick: undefined });
    expect(view).toMatchObject({ robotCode: null, sender: { corpId: null, nick: '' } });
  });

  it('has no reply address when the webhook or its expiry is missing', () => {
    expect(read({ sessionWebhook: undefined }).replyAddress).toBeNull();
    expect(read({ sessionWebhookExpiredTime: 'soon' }).replyAddress).toBeNull();
    expect(read({ sessionWebhookExpiredTime: 9e15 }).replyAddress).toBeNull();
  });

  it('reads text from a top-level content string', () => {
    expect(content({ text: undefined, content: ' 你好\u3000' })).toEqual(text('你好'));
  });

  it('keeps an empty text, which is a bare mention', () => {
    expect(content({ text: { content: ' ' } })).toEqual(text(''));
  });

  it('joins richText and counts its pictures', () => {
    const richText = [
      { type: 'at', atName: 'bot' },
      { text: 'see:' },
      { type: 'picture', downloadCode: 'mIof', pictureDownloadCode: 'pWjA' },
      { type: 'text', text: ' ask ' },
      { type: 'at', atName: 'Li', atUserId: 'x' },
      { type: 'emoji', text: '[OK]' },
      'odd',
      { type: 'picture', downloadCode: 'b' },
    ];
    expect(content({ msgtype: 'richText', text: undefined, content: { richText } })).toEqual(
      text('see: ask @Li[OK]', { attachments: 2 }),
    );
  });

  it('counts at most 100 attachments', () => {
    const richText = Array.from({ length: 130 }, () => ({ type: 'picture' }));
    expect(content({ msgtype: 'richText', content: { richText } })).toEqual(text('', { attachments: 100 }));
  });

  it('uses speech recognition as text and calls silent audio unsupported', () => {
    const audio = { duration: '4000', downloadCode: 'm', recognition: ' 重启 ' };
    expect(content({ msgtype: 'audio', content: audio })).toEqual(text('重启'));
    expect(content({ msgtype: 'audio', content: { ...audio, recognition: '' } })).toEqual({
      kind: 'unsupported',
      msgtype: 'audio',
    });
  });

  it.each([
    'picture',
    'video',
    'file',
    'unknownMsgType',
    'interactiveCard',
    'interactiveCardFile',
    'chatRecord',
    'new',
  ])('calls %s unsupported', (msgtype) => {
    const odd = { text: undefined, content: { unknownMsgType: 'x', downloadCode: 'm' } };
    expect(content({ msgtype, ...odd })).toEqual({ kind: 'unsupported', msgtype });
  });

  it('calls a missing msgtype and a text without text unsupported', () => {
    expect(content({ msgtype: undefined })).toEqual({ kind: 'unsupported', msgtype: '' });
    expect(content({ text: undefined })).toEqual({ kind: 'unsupported', msgtype: 'text' });
    expect(content({ msgtype: 'richText', content: 'x' })).toEqual({ kind: 'unsupported', msgtype: 'richText' });
  });

  it.each([20001, '20001'])('reads the over-quota notice %j, which has no text', (errorCode) => {
    const notice = { text: undefined, msgtype: undefined, errorCode, errorMessage: '受调用量超量影响' };
    expect(content(notice)).toEqual({ kind: 'quota_notice', text: '受调用量超量影响' });
  });

  it.each([
    ['a string', ' restart api '],
    ['a text object', { text: 'restart api' }],
    ['a content object', { content: 'restart api' }],
    ['richText', { richText: [{ text: 'restart ' }, { text: 'api' }] }],
  ])('reads a quoted reply whose content is %s', (_name, quoted) => {
    const reply = { content: '批准', isReplyMsg: true, repliedMsg: { msgId: 'm', msgType: 'text', content: quoted } };
    expect(content({ text: reply })).toEqual(text('批准', { quotedText: 'restart api' }));
  });

  it('caps lengths without cutting a surrogate pair', () => {
    const view = read({ text: { content: `${'x'.repeat(19_999)}😀` }, senderNick: '😀'.repeat(200) });
    expect(view.content).toEqual(text('x'.repeat(19_999)));
    expect(view.sender.nick).toBe('😀'.repeat(100));
  });

  it('replaces NUL and lone surrogates and says so', () => {
    const view = read({ text: { content: 'a\u0000b\ud800c' }, conversationTitle: '\udc00' });
    expect(view).toMatchObject({ content: text('a\uFFFDb\uFFFDc'), title: '\uFFFD', hadInvalidText: true });
  });

  it.each([
    ['msgId', { msgId: undefined }],
    ['msgId', { msgId: '' }],
    ['msgId', { msgId: 'x'.repeat(301) }],
    ['conversationId', { conversationId: {} }],
    ['conversationType', { conversationType: '3' }],
  ])('refuses a bad %s without repeating its value', (field, change) => {
    const parsed = parseRobotMessage({ ...base, ...change });
    expect(parsed).toEqual({ ok: false, faults: expect.stringContaining(field) });
  });

  it('survives nesting that would exhaust the stack', () => {
    const deep: unknown = JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`);
    expect(read({ content: deep, atUsers: deep }).msgId).toBe(base.msgId);
  });

  it('never throws on any JSON', () => {
    fc.assert(fc.property(fc.jsonValue(), (raw) => void parseRobotMessage(raw)));
    const record = fc.record(
      Object.fromEntries(Object.keys({ ...base, content: 1, errorCode: 1 }).map((key) => [key, fc.jsonValue()])),
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(record, fc.constantFrom('text', 'richText', 'audio', 'file'), (odd, msgtype) => {
        const kept = { msgId: 'm', conversationId: 'c', conversationType: '1' };
        expect(parseRobotMessage({ ...base, ...odd, ...kept, msgtype }).ok).toBe(true);
      }),
    );
  });
});
