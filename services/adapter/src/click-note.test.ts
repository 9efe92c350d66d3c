import { expect, it } from '@jest/globals';
import { createClickNote } from './click-note.ts';

it('says when a click was received, in the language and on the clock of the configuration', () => {
  const at = new Date('2026-03-01T06:05:09Z');
  expect(createClickNote({ language: 'zh', timeZone: 'Asia/Shanghai' })(at)).toBe('已收到 14:05:09');
  expect(createClickNote({ language: 'en', timeZone: 'UTC' })(at)).toBe('Received 06:05:09');
});
