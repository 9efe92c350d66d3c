import { z } from 'zod';
import { truncate } from './clean-json.ts';
import { lenientText } from './lenient.ts';

/** What a person sent, reduced to what a robot without eyes can use. */
export type RobotMessageContent =
  | {
      kind: 'text';
      /** At most 20,000 UTF-16 units, trimmed: the platform leaves a space where the @ was. */
      text: string;
      quotedText: string | null;
      /** Pictures that came along and were not read; at most 100. */
      attachments: number;
    }
  | { kind: 'unsupported'; msgtype: string }
  | { kind: 'quota_notice'; text: string };

const maxTextUnits = 20_000;
const maxAttachments = 100;

type Nested = Record<string, unknown> | null;

const richTextSchema = z.array(
  z.object({ type: lenientText, text: lenientText, atName: lenientText }).nullable().catch(null),
);

/** Reads the part of a robot payload that depends on `msgtype`. Unknown types end as `unsupported`. Pure. */
export function readContent(payload: {
  msgtype: string | null;
  text: Nested;
  content: string | Nested;
}): RobotMessageContent {
  const unsupported = { kind: 'unsupported', msgtype: truncate(payload.msgtype ?? '', 100) } as const;
  const nested = typeof payload.content === 'string' ? null : payload.content;
  switch (payload.msgtype ?? '') {
    case 'text': {
      // One official sample puts the text in a top-level string `content`; every SDK reads text.content.
      const text = readText(payload.text?.['content']) ?? readText(payload.content);
      return text === null ? unsupported : toText(text, 0, payload);
    }
    case 'richText': {
      const rich = readRichText(nested?.['richText']);
      return rich === null ? unsupported : toText(rich.text, rich.pictures, payload);
    }
    case 'audio': {
      // `recognition` is the platform's own speech recognition.
      const recognised = readText(nested?.['recognition'])?.trim();
      return recognised ? toText(recognised, 0, payload) : unsupported;
    }
    default:
      return unsupported;
  }
}

function toText(text: string, pictures: number, payload: { text: Nested; content: string | Nested }) {
  return {
    kind: 'text',
    text: truncate(text.trim(), maxTextUnits),
    quotedText: readQuotedText(payload),
    attachments: Math.min(pictures, maxAttachments),
  } as const;
}

/** Quoted replies are undocumented; field reports show `repliedMsg` below `text`, with content in the usual shapes. */
function readQuotedText(payload: { text: Nested; content: string | Nested }): string | null {
  const nested = typeof payload.content === 'string' ? null : payload.content;
  const quoted = readObject(payload.text?.['repliedMsg']) ?? readObject(nested?.['repliedMsg']);
  if (quoted === null) return null;
  const content = readObject(quoted['content']);
  const text =
    readText(quoted['content']) ??
    readText(content?.['text']) ??
    readText(content?.['content']) ??
    readRichText(content?.['richText'])?.text ??
    readText(content?.['recognition']);
  const trimmed = text?.trim();
  return trimmed ? truncate(trimmed, maxTextUnits) : null;
}

function readRichText(raw: unknown): { text: string; pictures: number } | null {
  const parsed = richTextSchema.safeParse(raw);
  if (!parsed.success) return null;
  let text = '';
  let pictures = 0;
  for (const piece of parsed.data) {
    if (piece?.type === 'picture') pictures += 1;
    // A mention before the first word calls the robot; a later one names somebody the sentence is about.
    else if (piece?.type === 'at') text += text.trim() === '' || !piece.atName ? '' : `@${piece.atName}`;
    else text += piece?.text ?? '';
  }
  return { text, pictures };
}

function readText(raw: unknown): string | null {
  if (typeof raw === 'number') return String(raw);
  return typeof raw === 'string' ? raw : null;
}

function readObject(raw: unknown): Record<string, unknown> | null {
  // Payloads come from JSON.parse: an object that is no array is a record of unknown values.
  return typeof raw === 'object' && raw !== null && !Array.isArray(raw) ? (raw as Record<string, unknown>) : null;
}
