import { describe, expect, it } from '@jest/globals';
import { applyVariants, variantNames } from './payload-variants.ts';

const payload = {
  ...{ msgtype: 'text', text: { content: ' hi' }, msgId: 'm', createAt: 5, senderStaffId: 'li', isAdmin: false },
  ...{ robotCode: 'dingops', chatbotUserId: '$:LWCP_v1:$x', sessionWebhookExpiredTime: 7 },
};
const shape = (name: (typeof variantNames)[number]): Record<string, unknown> => applyVariants(payload, [name]);

describe('payload variants', () => {
  it('leave every other field and the payload itself alone', () => {
    const before = structuredClone(payload);
    for (const name of variantNames) expect(shape(name)).toHaveProperty('msgId', 'm');
    expect(payload).toEqual(before);
  });

  it('leave out what an external or unpublished robot does not see', () => {
    expect(shape('noSenderStaffId')).not.toHaveProperty('senderStaffId');
    expect(shape('emptySenderStaffId')).toHaveProperty('senderStaffId', '');
    expect(shape('noIsAdmin')).not.toHaveProperty('isAdmin');
    expect(shape('noRobotCode')).not.toHaveProperty('robotCode');
  });

  it.each([
    ['unknownMsgType', 'unknownMsgType'],
    ['futureMsgType', 'interactiveCard'],
    ['richTextPicture', 'richText'],
    ['picture', 'picture'],
    ['audio', 'audio'],
    ['video', 'video'],
    ['file', 'file'],
  ] as const)('%s carries content instead of text', (name, msgtype) => {
    expect(shape(name)).toMatchObject({ msgtype, content: expect.any(Object) });
    expect(shape(name)).not.toHaveProperty('text');
  });

  it('write text and numbers in the other documented ways', () => {
    expect(shape('textInContent')).toMatchObject({ content: ' hi' });
    expect(shape('numbersAsStrings')).toMatchObject({ createAt: '5', sessionWebhookExpiredTime: '7' });
    expect(shape('quotedReply')).toMatchObject({
      text: { content: ' hi', isReplyMsg: true },
      originalProcessQueryKey: 'pqkQuoted',
    });
    expect(shape('overQuota')).toMatchObject({ errorCode: 20001 });
    expect(shape('overQuota')).not.toHaveProperty('text');
  });

  it('combine', () => {
    expect(applyVariants(payload, ['picture', 'noSenderStaffId'])).toMatchObject({ msgtype: 'picture' });
    expect(applyVariants(payload, ['picture', 'noSenderStaffId'])).not.toHaveProperty('senderStaffId');
  });
});
