/** The longest thing we add to a part: a fence opened again in front and closed at the end. */
const fenceReserveBytes = 48;
const minBytes = 64 + fenceReserveBytes;
/** A nicer border is taken only if at least this share of the part stays used. */
const minFill = 0.5;
/** How far around the limit graphemes are looked at: longer clusters may be cut. */
const graphemeWindow = 64;

const graphemes = new Intl.Segmenter('und', { granularity: 'grapheme' });

/** A code fence: where its opening line starts, where its body starts, and how it is written. */
type Fence = { startsAt: number; bodyAt: number; marker: string; language: string };
/** A piece of the original and what is added around it so that it stands alone. */
export type TextCut = { prefix: string; body: string; suffix: string };

/**
 * Cuts text into parts of at most `maxBytes` each, counted as UTF-8 of the JSON-encoded text without its quotes. Never
 * cuts a code point, a grapheme only when it is absurdly long; prefers the border of a paragraph, then of a line, then
 * of a word. A code fence that is cut is closed and opened again. Blank parts are left out.
 */
export function splitText(text: string, o: { maxBytes: number }): string[] {
  const parts = cutText(text, o).map((cut) => cut.prefix + cut.body + cut.suffix);
  const spoken = parts.filter((part) => part.trim() !== '');
  return spoken.length > 0 ? spoken : parts.slice(0, 1);
}

/** The cuts behind `splitText`: the bodies, joined, are exactly the text. Throws RangeError below 112 bytes. */
export function cutText(text: string, o: { maxBytes: number }): TextCut[] {
  if (o.maxBytes < minBytes) throw new RangeError(`maxBytes must be at least ${minBytes}`);
  const fences = createFenceReader(text);
  const cuts: TextCut[] = [];
  let start = 0;
  let open: Fence | null = null;
  do {
    const prefix: string = open === null ? '' : `${open.marker}${open.language}\n`;
    const restEnd = findFit(text, start, o.maxBytes - jsonBytes(prefix));
    if (restEnd === text.length) {
      cuts.push({ prefix, body: text.slice(start), suffix: '' });
      return cuts;
    }
    const limit = findFit(text, start, o.maxBytes - fenceReserveBytes - jsonBytes(prefix));
    let end = findBorder(text, start, limit);
    open = fences.openAt(end);
    if (open !== null && open.bodyAt > end) open = null;
    // A fence whose opening line is the last of the part is better opened in the next one.
    if (open?.bodyAt === end && open.startsAt > start) {
      end = open.startsAt;
      open = null;
    }
    const body = text.slice(start, end);
    const suffix = open === null ? '' : `${body.endsWith('\n') ? '' : '\n'}${open.marker}`;
    cuts.push({ prefix, body, suffix });
    start = end;
  } while (start < text.length);
  return cuts;
}

/** Bytes of a text inside JSON quotes. */
export function jsonBytes(text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) - 2;
}

/** The furthest end whose slice from `start` costs at most `budget`, at a code point border. */
function findFit(text: string, start: number, budget: number): number {
  let end = start;
  let spent = 0;
  while (end < text.length) {
    const codePoint = text.codePointAt(end) ?? 0;
    spent += codePointBytes(codePoint);
    if (spent > budget) return end;
    end += codePoint > 0xffff ? 2 : 1;
  }
  return end;
}

function codePointBytes(codePoint: number): number {
  if (codePoint < 0x20) return [0x08, 0x09, 0x0a, 0x0c, 0x0d].includes(codePoint) ? 2 : 6;
  if (codePoint === 0x22 || codePoint === 0x5c) return 2;
  if (codePoint < 0x80) return 1;
  if (codePoint < 0x800) return 2;
  // A lone surrogate is written as \udXXX.
  if (codePoint >= 0xd800 && codePoint <= 0xdfff) return 6;
  return codePoint < 0x10000 ? 3 : 4;
}

/** The best place to cut at or before `limit`. */
function findBorder(text: string, start: number, limit: number): number {
  const earliest = start + Math.floor((limit - start) * minFill);
  for (const border of ['\n\n', '\n', ' ']) {
    const found = text.lastIndexOf(border, limit - border.length);
    if (found >= 0 && found + border.length > earliest) return found + border.length;
  }
  return findGraphemeBorder(text, start, limit);
}

function findGraphemeBorder(text: string, start: number, limit: number): number {
  const from = Math.max(start, limit - graphemeWindow);
  // Begin at a code point, or the first cluster would be half a pair.
  const windowStart = from > start && isLowSurrogate(text, from) ? from - 1 : from;
  let border = start;
  for (const { index } of graphemes.segment(text.slice(windowStart, limit + graphemeWindow))) {
    if (windowStart + index > limit) break;
    // The window may begin inside a cluster: its own beginning proves nothing.
    if (index > 0) border = windowStart + index;
  }
  return border > start ? border : limit;
}

function isLowSurrogate(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit >= 0xdc00 && unit <= 0xdfff;
}

/** Reads lines once, in order, and says which fence is open at a cut. Ask with growing offsets only. */
function createFenceReader(text: string): { openAt: (offset: number) => Fence | null } {
  let lineStart = 0;
  let open: Fence | null = null;
  const readLine = (line: string, nextLine: number): void => {
    const match = /^ {0,3}(`{3,8})(?!`)([^`]*)$/.exec(line);
    const marker = match?.[1];
    if (marker === undefined) return;
    const info = match?.[2]?.trim() ?? '';
    if (open === null) {
      const language = /^[\w+#.-]{1,20}/.exec(info)?.[0] ?? '';
      open = { startsAt: lineStart, bodyAt: nextLine, marker, language };
    } else if (info === '' && marker.length >= open.marker.length) open = null;
  };
  return {
    openAt: (offset) => {
      for (let newline = text.indexOf('\n', lineStart); newline >= 0 && newline < offset;) {
        readLine(text.slice(lineStart, newline), newline + 1);
        lineStart = newline + 1;
        newline = text.indexOf('\n', lineStart);
      }
      return open;
    },
  };
}
