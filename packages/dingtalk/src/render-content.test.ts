import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { renderOpenApiContent, renderWebhookBody, splitContent } from './render-content.ts';
import type { OutgoingContent } from './render-content.ts';

const markdown: OutgoingContent = { kind: 'markdown', title: 'Answer', text: '### a < b' };

describe('render', () => {
  it('renders text and markdown for webhooks', () => {
    expect(renderWebhookBody({ kind: 'text', text: 'a < b' })).toEqual({ msgtype: 'text', text: { content: 'a < b' } });
    expect(renderWebhookBody(markdown)).toEqual({
      msgtype: 'markdown',
      markdown: { title: 'Answer', text: '### a &lt; b' },
    });
  });

  it('renders msgParam as JSON text', () => {
    expect(renderOpenApiContent({ kind: 'text', text: 'hi "you"' })).toEqual({
      msgKey: 'sampleText',
      msgParam: '{"content":"hi \\"you\\""}',
    });
    expect(renderOpenApiContent(markdown)).toEqual({
      msgKey: 'sampleMarkdown',
      msgParam: '{"title":"Answer","text":"### a &lt; b"}',
    });
  });

  it('names everybody it mentions, once', () => {
    const body = renderWebhookBody({ kind: 'text', text: 'done @12' }, { staffIds: ['12', '1'] });
    expect(body).toEqual({
      msgtype: 'text',
      text: { content: '@1 done @12' },
      at: { atUserIds: ['12', '1'], isAtAll: false },
    });
  });

  it('mentions at most 50 people', () => {
    const staffIds = Array.from({ length: 60 }, (_, n) => `u${n}`);
    expect(renderWebhookBody({ kind: 'text', text: 'x' }, { staffIds })).toMatchObject({
      at: { atUserIds: staffIds.slice(0, 50) },
    });
  });

  it('splits so that every part fits by every door', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 3_000 }).map((words) => `${words}<"\n`.repeat(3));
    const mentions = { staffIds: ['0147238602'] };
    fc.assert(
      fc.property(text, fc.constantFrom('text' as const, 'markdown' as const), (words, kind) => {
        const content: OutgoingContent =
          kind === 'text' ? { kind, text: words } : { kind, title: 'A "title"', text: words };
        for (const part of splitContent(content, { maxBytes: 1_000, mentions })) {
          const body = renderWebhookBody(part, mentions);
          expect(Buffer.byteLength(JSON.stringify(body))).toBeLessThanOrEqual(1_000);
          expect(Buffer.byteLength(renderOpenApiContent(part).msgParam)).toBeLessThanOrEqual(1_000);
        }
      }),
      { numRuns: 50 },
    );
  });
});
