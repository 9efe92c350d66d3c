import { chmod, lstat, mkdir, rm, stat } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { CompiledQuery } from 'kysely';
import { AppError, describeError, type Logger } from '@steward/service-kit';
import type { Db } from './connection.ts';
import type { Embedded, ServiceRole } from './embedded.ts';
import { assertStatement, sqlStateOf, toPlainRow } from './operator-query.ts';
import {
  maxAnswerBytes,
  maxRequestBytes,
  readLines,
  requestSchema,
  toSocketAddress,
  type OperatorAnswer,
} from './operator-wire.ts';

const maxConnections = 8;
/** A person may think about a question for so long before the connection is taken away. */
const idleMs = 15 * 60_000;
/** Questions of one connection that wait while another is answered: an honest client has none. */
const maxWaiting = 16;
const staleMs = 1_000;

/**
 * Lets the command line into the embedded database of this process, which no second process may open: a unix socket for the
 * owner of the folder alone (0600). Statements run one at a time as `role`; as everywhere in embedded mode the role is
 * exercised but is no boundary: who may open the socket may open the folder. Rejects with OPERATOR_SOCKET_IN_USE when another
 * process answers there, and OPERATOR_SOCKET_BLOCKED when no socket can be made.
 */
export async function serveOperatorSocket(o: {
  embedded: Embedded;
  socketPath: string;
  role: ServiceRole;
  log: Logger;
}): Promise<{ close(): Promise<void> }> {
  const address = toSocketAddress(o.socketPath);
  await makeFolder(dirname(o.socketPath));
  await removeStale(o.socketPath, address);
  const { db } = o.embedded.database<unknown>({ role: o.role });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    serveConnection(socket, db, o.log);
  });
  server.maxConnections = maxConnections;
  await listen(server, address);
  await chmod(o.socketPath, 0o600);
  server.on('error', (error) => o.log.warn('operator.socket.failed', { error }));
  o.log.info('operator.socket.opened', { role: o.role });
  return {
    close: () =>
      new Promise((resolve) => {
        // Closing removes the socket's file too.
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // Whoever may write into the folder may put a socket of their own in the place of this one.
  if (((await stat(folder)).mode & 0o022) === 0) return;
  throw blocked('the data folder may be written by others; run `chmod 700` on it');
}

async function removeStale(path: string, address: string): Promise<void> {
  const found = await lstat(path).catch(() => null);
  if (found === null) return;
  if (!found.isSocket()) throw blocked('where the operator socket belongs is something else; move it away');
  if (await answers(address)) {
    throw new AppError('OPERATOR_SOCKET_IN_USE', 'another process serves this data folder', { retryable: false });
  }
  await rm(path, { force: true });
}

function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(address);
    const say = (isAlive: boolean) => () => {
      socket.destroy();
      resolve(isAlive);
    };
    // Only a refused connection shows that nobody is there; whatever else happens, it is left alone.
    socket.once('error', (error) => say((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED')());
    socket.once('connect', say(true));
    socket.setTimeout(staleMs, say(true));
  });
}

/** The file is made under a mask, so that it is never open to others, not even for a moment. */
function listen(server: Server, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(blocked('the operator socket cannot be made in the data folder', cause)));
    server.once('listening', () => {
      server.removeAllListeners('error');
      resolve();
    });
    const mask = process.umask(0o177);
    try {
      server.listen(address);
    } finally {
      process.umask(mask);
    }
  });
}

const blocked = (text: string, cause?: unknown) =>
  new AppError('OPERATOR_SOCKET_BLOCKED', text, { retryable: false, cause });

function serveConnection(socket: Socket, db: Db<unknown>, log: Logger): void {
  let work: Promise<void> = Promise.resolve();
  let waiting = 0;
  socket.on('error', (error) => log.debug('operator.socket.broken', { error }));
  socket.setTimeout(idleMs, () => socket.destroy());
  readLines(socket, {
    maxBytes: maxRequestBytes,
    onLine: (line) => {
      waiting += 1;
      if (waiting > maxWaiting) return void socket.destroy();
      work = work.then(async () => {
        waiting -= 1;
        if (!socket.destroyed) await write(socket, await answer(db, line));
      });
    },
    onOverflow: () => {
      const text = `a statement with its values may have ${maxRequestBytes} bytes`;
      socket.end(toLine({ error: { code: 'OPERATOR_STATEMENT_REFUSED', text } }));
    },
  });
}

/** Waits until the client has taken it: a slow one holds up nobody but itself. */
const write = (socket: Socket, said: OperatorAnswer): Promise<void> =>
  new Promise((resolve) => {
    if (socket.destroyed || socket.write(toLine(said))) return resolve();
    socket.once('drain', resolve);
    socket.once('close', resolve);
  });

function toLine(said: OperatorAnswer): string {
  const line = `${JSON.stringify(said)}\n`;
  if (line.length <= maxAnswerBytes / 4 || Buffer.byteLength(line) <= maxAnswerBytes) return line;
  const text = `the answer has more than ${maxAnswerBytes} bytes; ask for fewer rows at a time`;
  return `${JSON.stringify({ error: { code: 'OPERATOR_ANSWER_TOO_LARGE', text } })}\n`;
}

async function answer(db: Db<unknown>, line: string): Promise<OperatorAnswer> {
  try {
    const { text, values } = readRequest(line);
    const { rows } = await db.executeQuery(CompiledQuery.raw(text, values));
    return { rows: (rows as Record<string, unknown>[]).map(toPlainRow) };
  } catch (error) {
    const { code, text } = describeError(error);
    const sqlState = sqlStateOf(error);
    return { error: sqlState === null ? { code, text } : { code, text, sqlState } };
  }
}

function readRequest(line: string) {
  try {
    const { text, values } = requestSchema.parse(JSON.parse(line));
    assertStatement(text);
    return { text, values };
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('OPERATOR_STATEMENT_REFUSED', 'not a statement with values', { retryable: false, cause });
  }
}
