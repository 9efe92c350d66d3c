import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { once } from 'node:events';
import path from 'node:path';
import { connectOperatorSocket, createEmbedded, migrate, serveOperatorSocket, type Embedded } from './index.ts';
import { testOperatorConnection } from './operator.test-support.ts';
import { silentLog } from './testing.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'steward-socket-'));
const socketPath = path.join(folder, 'inside', 'steward.sock');
let embedded: Embedded;
let served: { close(): Promise<void> };
beforeAll(async () => {
  embedded = await createEmbedded({});
  await migrate({ db: embedded.database<unknown>({ role: null }).db, log: silentLog });
  served = await serve(socketPath);
}, 180_000);
afterAll(async () => {
  await served.close();
  await embedded.close();
  rmSync(folder, { recursive: true, force: true });
});

const serve = (at: string) =>
  serveOperatorSocket({ embedded, socketPath: at, role: 'steward_operator', log: silentLog });

/** Sends bytes as they are and gives everything that comes back until the other side closes or a line has come. */
async function say(bytes: string | Buffer): Promise<string> {
  const socket = createConnection(socketPath);
  socket.on('error', () => undefined);
  socket.write(bytes);
  let said = '';
  for await (const chunk of socket) {
    said += String(chunk);
    if (said.endsWith('\n')) break;
  }
  socket.destroy();
  return said;
}

describe('the operator on the running demo', () => {
  testOperatorConnection(() => connectOperatorSocket(socketPath));

  it('is for the owner of the folder alone', () => {
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
    expect(statSync(path.dirname(socketPath)).mode & 0o777).toBe(0o700);
  });

  it('gives the connection back to the services with their own roles', async () => {
    const connection = await connectOperatorSocket(socketPath);
    await connection.query('select 1 as n');
    await connection.close();
    const { db } = embedded.database<unknown>({ role: 'steward_adapter' });
    const { rows } = await db.executeQuery<{ who: string }>({
      sql: 'select current_user::text as who',
      parameters: [],
      query: { kind: 'RawNode', sqlFragments: [], parameters: [] },
      queryId: { queryId: 'test' },
    });
    expect(rows).toEqual([{ who: 'steward_adapter' }]);
  });

  it.each([
    ['what is not JSON', 'select 1\n'],
    ['another shape', '{"text":"select 1"}\n'],
    ['a value that is an object', '{"text":"select $1::text","values":[{"a":1}]}\n'],
    ['two statements, whatever the client checks', '{"text":"select 1; reset role","values":[]}\n'],
    ['transaction control', '{"text":"begin","values":[]}\n'],
    ['what never ends', Buffer.alloc(300 * 1024, 0x20)],
  ])('answers %s with a refusal', async (_, bytes) => {
    expect(JSON.parse(await say(bytes))).toMatchObject({ error: { code: 'OPERATOR_STATEMENT_REFUSED' } });
    // And goes on for everybody else.
    const connection = await connectOperatorSocket(socketPath);
    expect(await connection.query('select 1 as n')).toEqual([{ n: 1 }]);
    await connection.close();
  });

  it('refuses an answer that is too large instead of cutting it', async () => {
    const connection = await connectOperatorSocket(socketPath);
    const answer = connection.query(`select repeat('x', 1000000) as t from generate_series(1, 70)`);
    await expect(answer).rejects.toMatchObject({ code: 'OPERATOR_ANSWER_TOO_LARGE' });
    expect(await connection.query('select 1 as n')).toEqual([{ n: 1 }]);
    await connection.close();
  }, 60_000);

  it('refuses a statement that is too large before it is sent', async () => {
    const connection = await connectOperatorSocket(socketPath);
    const answer = connection.query('select $1::text as t', ['x'.repeat(300_000)]);
    await expect(answer).rejects.toMatchObject({ code: 'OPERATOR_STATEMENT_REFUSED' });
    await connection.close();
  });

  it('keeps to eight connections', async () => {
    const open = await Promise.all(Array.from({ length: 8 }, () => connectOperatorSocket(socketPath)));
    const ninth = await connectOperatorSocket(socketPath);
    await expect(ninth.query('select 1 as n')).rejects.toMatchObject({ code: 'OPERATOR_DATABASE_LOST' });
    for (const connection of [...open, ninth]) await connection.close();
  });
});

describe('the socket of the demo', () => {
  it('is not taken from a process that answers', async () => {
    await expect(serve(socketPath)).rejects.toMatchObject({ code: 'OPERATOR_SOCKET_IN_USE' });
    const connection = await connectOperatorSocket(socketPath);
    expect(await connection.query('select 1 as n')).toEqual([{ n: 1 }]);
    await connection.close();
  });

  it('takes the place of one that a dead process left, and leaves none behind', async () => {
    const at = path.join(folder, 'stale.sock');
    const left = createServer().listen(at);
    await once(left, 'listening');
    // A killed process closes its socket without removing the file.
    const { link, unlink } = await import('node:fs/promises');
    await link(at, `${at}.kept`);
    left.close();
    await once(left, 'close');
    await link(`${at}.kept`, at);
    await unlink(`${at}.kept`);
    await expect(connectOperatorSocket(at)).rejects.toMatchObject({ code: 'OPERATOR_DATABASE_LOST' });
    const again = await serve(at);
    const connection = await connectOperatorSocket(at);
    expect(await connection.query('select 1 as n')).toEqual([{ n: 1 }]);
    await connection.close();
    await again.close();
    expect(existsSync(at)).toBe(false);
  });

  it('touches nothing that is no socket', async () => {
    const at = path.join(folder, 'a-file');
    writeFileSync(at, 'mine');
    await expect(serve(at)).rejects.toMatchObject({ code: 'OPERATOR_SOCKET_BLOCKED' });
    expect(statSync(at).size).toBe(4);
  });

  it('is not made where others may put one of their own', async () => {
    const open = mkdtempSync(path.join(folder, 'open-'));
    chmodSync(open, 0o777);
    await expect(serve(path.join(open, 'steward.sock'))).rejects.toMatchObject({ code: 'OPERATOR_SOCKET_BLOCKED' });
  });

  it('is not made under a path that the kernel would cut', async () => {
    const at = path.join(folder, 'x'.repeat(120), 'steward.sock');
    await expect(serve(at)).rejects.toMatchObject({ code: 'OPERATOR_SOCKET_BLOCKED' });
  });

  it('says that nobody is there', async () => {
    await expect(connectOperatorSocket(path.join(folder, 'none.sock'))).rejects.toMatchObject({
      code: 'OPERATOR_DATABASE_LOST',
    });
  });
});
