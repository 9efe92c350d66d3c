import { isAbsolute, relative, resolve } from 'node:path';
import type { Socket } from 'node:net';
import { z } from 'zod';
import { AppError } from '@steward/service-kit';

/** What goes over the operator's socket: one JSON object a line, one answer for each question, in order. */
export const maxRequestBytes = 256 * 1024;
export const maxAnswerBytes = 64 * 1024 * 1024;

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);
export const requestSchema = z.strictObject({
  text: z.string().min(1),
  values: z.array(z.union([scalar, z.array(scalar).max(10_000)])).max(100),
});
export type OperatorRequest = z.output<typeof requestSchema>;

/** `sqlState` when it was the database that said no. */
export const answerSchema = z.union([
  z.strictObject({ rows: z.array(z.record(z.string(), z.unknown())) }),
  z.strictObject({ error: z.strictObject({ code: z.string(), text: z.string(), sqlState: z.string().optional() }) }),
]);
export type OperatorAnswer = z.output<typeof answerSchema>;

/** Hands over every whole line of a socket; `onOverflow` when one grows beyond the limit, and nothing after that. */
export function readLines(
  socket: Socket,
  o: { maxBytes: number; onLine: (line: string) => void; onOverflow: () => void },
): void {
  let kept: Buffer[] = [];
  let bytes = 0;
  let isOver = false;
  socket.on('data', (chunk: Buffer) => {
    let rest = chunk;
    while (!isOver) {
      const end = rest.indexOf(0x0a);
      const piece = end < 0 ? rest : rest.subarray(0, end);
      bytes += piece.length;
      if (bytes > o.maxBytes) {
        isOver = true;
        kept = [];
        o.onOverflow();
        return;
      }
      kept.push(piece);
      if (end < 0) return;
      o.onLine(Buffer.concat(kept).toString('utf8'));
      [kept, bytes, rest] = [[], 0, rest.subarray(end + 1)];
    }
  });
}

/** The kernel's limit is 108 bytes with a zero at the end; macOS has 104. */
const maxPathBytes = 103;

/** The shorter way to say a socket's path. Throws OPERATOR_SOCKET_BLOCKED when even that is too long for the kernel. */
export function toSocketAddress(path: string): string {
  const absolute = isAbsolute(path) ? path : resolve(path);
  const nearby = `./${relative('', absolute)}`;
  const address = Buffer.byteLength(nearby) < Buffer.byteLength(absolute) ? nearby : absolute;
  if (Buffer.byteLength(address) <= maxPathBytes) return address;
  throw new AppError(
    'OPERATOR_SOCKET_BLOCKED',
    'the path of the operator socket is too long; use a shorter data folder',
    {
      retryable: false,
    },
  );
}
