import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parsePlatformEvent, toPlatformEvent } from './platform-event.ts';

describe('platform event', () => {
  it('reads a decrypted HTTP push', () => {
    const body = {
      EventType: 'bpms_instance_change',
      EventTime: 1_663_143_335_567,
      CorpId: 'ding9f50',
      eventId: 'c7c7',
      result: 'agree',
    };
    expect(parsePlatformEvent(JSON.stringify(body))).toEqual({
      eventId: 'c7c7',
      eventType: 'bpms_instance_change',
      corpId: 'ding9f50',
      bornAtMs: 1_663_143_335_567,
      payload: body,
      hadInvalidText: false,
    });
  });

  it('reads check_url, which has no id', () => {
    expect(parsePlatformEvent('{"EventType":"check_url"}')).toMatchObject({ eventType: 'check_url', eventId: null });
  });

  it('reads meta fields of a Stream frame from its headers', () => {
    const headers = {
      topic: '*',
      eventType: 'bpms_instance_change',
      eventId: 'c7c7120f',
      eventCorpId: 'ding9f50',
      eventBornTime: '1683533823336',
    };
    expect(toPlatformEvent(headers, { type: 'finish\u0000' })).toEqual({
      eventId: 'c7c7120f',
      eventType: 'bpms_instance_change',
      corpId: 'ding9f50',
      bornAtMs: 1_683_533_823_336,
      payload: { type: 'finish\uFFFD' },
      hadInvalidText: true,
    });
  });

  it('never throws on any text or JSON', () => {
    fc.assert(fc.property(fc.oneof(fc.json(), fc.string()), (text) => void parsePlatformEvent(text)));
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.jsonValue(), (h, d) => void toPlatformEvent(h, d)),
    );
    expect(parsePlatformEvent('[]')).toBeNull();
    expect(parsePlatformEvent('success')).toBeNull();
  });
});
