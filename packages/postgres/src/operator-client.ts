import { createConnection, type Socket } from 'node:net';
import { AppError } from '@steward/service-kit';
import {
  databaseRefused,
  lost,
  oneAfterTheOther,
  statementMs,
  toParameters,
  type OperatorConnection,
} from './operator-query.ts';
import { answerSchema, maxAnswerBytes, maxRequestBytes, readLines, toSocketAddress } from './operator-wire.ts';

const connectMs = 5_000;
const broken = 'the running demo does not answer any more; see whether it is still up';

/**
 * Connects to the running embedded demo by its socket; statements run there as the operator's role. Rejects with
 * OPERATOR_DATABASE_LOST when nobody answers.
 */
export async function connectOperatorSocket(path: string): Promise<OperatorConnection> {
  const socket = await connect(path);
  return {
    query: oneAfterTheOther(createAsker(socket)),
    close: () =>
      new Promise((resolve) => {
        if (socket.closed) return resolve();
        socket.once('close', () => resolve());
        socket.destroy();
      }),
  };
}

function connect(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(toSocketAddress(path));
    const fail = (cause?: unknown) => {
      clearTimeout(timer);
      socket.destroy();
      reject(lost(`nobody answers at ${path}; start the demo, or set STEWARD_DATABASE_URL`, cause));
    };
    const timer = setTimeout(fail, connectMs);
    socket.once('error', fail);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', fail);
      socket.on('error', () => undefined);
      resolve(socket);
    });
  });
}

/** What waits for the next line. Everything that ends the socket ends the wait. */
function createAsker(socket: Socket): (text: string, values: readonly unknown[]) => Promise<Record<string, unknown>[]> {
  let waiting: { resolve: (line: string) => void; reject: (error: AppError) => void } | null = null;
  const end = (error: AppError) => {
    waiting?.reject(error);
    waiting = null;
    socket.destroy();
  };
  readLines(socket, {
    maxBytes: maxAnswerBytes,
    onLine: (line) => {
      waiting?.resolve(line);
      waiting = null;
    },
    onOverflow: () => end(lost('the running demo answered more than was agreed; it is of another version')),
  });
  socket.on('close', () => end(lost(broken)));
  return async (text, values) => {
    const line = `${JSON.stringify({ text, values: toParameters(text, values) })}\n`;
    if (Buffer.byteLength(line) > maxRequestBytes) throw tooLarge();
    if (socket.destroyed) throw lost(broken);
    let timer: NodeJS.Timeout | undefined;
    try {
      return toRows(
        await new Promise<string>((resolve, reject) => {
          waiting = { resolve, reject };
          timer = setTimeout(() => end(lost(broken)), statementMs);
          socket.write(line);
        }),
      );
    } finally {
      clearTimeout(timer);
    }
  };
}

const tooLarge = () =>
  new AppError('OPERATOR_STATEMENT_REFUSED', `a statement with its values may have ${maxRequestBytes} bytes`, {
    retryable: false,
  });

function toRows(line: string): Record<string, unknown>[] {
  const answer = answerSchema.safeParse(parseJson(line));
  if (!answer.success) throw lost('the running demo answered something unreadable; it is of another version');
  if ('rows' in answer.data) return answer.data.rows;
  const { code, text, sqlState } = answer.data.error;
  if (sqlState !== undefined) throw databaseRefused(sqlState, text);
  throw new AppError(code, text, { retryable: code === 'EMBEDDED_DATABASE_BUSY' });
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
