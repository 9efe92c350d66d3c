import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { buildAck, buildPong, parseStreamFrame } from './stream-frame.ts';

describe('Stream frame', () => {
  it('reads the reference frame', () => {
    const headers = {
      appId: '1305d5f5',
      connectionId: '2f9c95bd',
      contentType: 'application/json',
      messageId: '212ca9d7_974',
      time: '1690362102194',
      topic: '/v1.0/im/bot/messages/get',
    };
    const text = JSON.stringify({ specVersion: '1.0', type: 'CALLBACK', headers, data: '{"msgId":"m"}' });
    expect(parseStreamFrame(text)).toEqual({
      type: 'CALLBACK',
      topic: headers.topic,
      messageId: headers.messageId,
      connectionId: headers.connectionId,
      headers,
      data: '{"msgId":"m"}',
      payload: { msgId: 'm' },
    });
  });

  it('never throws on any text', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void parseStreamFrame(text)));
    const odd = fc.record({
      type: fc.string(),
      headers: fc.dictionary(fc.string(), fc.jsonValue()),
      data: fc.jsonValue(),
    });
    fc.assert(fc.property(odd, (frame) => expect(parseStreamFrame(JSON.stringify(frame))).not.toBeNull()));
  });

  it('builds answers that echo the messageId', () => {
    expect(buildAck('m', 404, { response: null })).toEqual({
      code: 404,
      message: 'Not Found',
      headers: { messageId: 'm', contentType: 'application/json' },
      data: '{"response":null}',
    });
    expect(buildPong('m', '{ "opaque": 1 }').data).toBe('{ "opaque": 1 }');
  });
});
