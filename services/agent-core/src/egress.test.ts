import { gzipSync, brotliCompressSync } from 'node:zlib';
import { createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createEgress, type EgressRequest } from './egress.ts';
import { realNetwork } from './egress-socket.ts';
import { buildRequest, createTestNetwork, startServer } from './egress.test-support.ts';

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const server of opened.splice(0)) await server.close();
});

async function callServer(answer: Parameters<typeof startServer>[0], changes: Partial<EgressRequest> = {}) {
  const server = await startServer(answer);
  opened.push(server);
  const { network } = createTestNetwork({ port: server.port });
  return createEgress(network)(buildRequest(changes));
}

/** Answers in these bytes as soon as a request has come, and hangs up where asked. */
const inBytes = (bytes: string | Buffer, end: 'open' | 'end' | 'reset' = 'end') => ({
  raw: (socket: Socket) =>
    void socket.once('data', () => {
      socket.write(bytes, () =>
        end === 'reset' ? socket.resetAndDestroy() : end === 'end' ? socket.end() : undefined,
      );
    }),
});
const ok = 'HTTP/1.1 200 OK\r\n';

describe('a call', () => {
  it('sends method, path, headers and body, and says who calls', async () => {
    let seen: unknown;
    const result = await callServer(
      {
        http: (request, response) => {
          let body = '';
          request.on('data', (chunk: Buffer) => (body += chunk.toString()));
          request.on('end', () => {
            const { host, 'x-a': a, 'user-agent': agent, connection } = request.headers;
            seen = { line: `${request.method} ${request.url}`, host, a, agent, connection, body };
            response.writeHead(201).end('好');
          });
        },
      },
      { method: 'POST', path: '/a%2Fb?c=d', headers: { 'x-a': '1' }, body: '{"x":1}' },
    );
    expect(result).toEqual({ kind: 'answered', status: 201, body: '好' });
    expect(seen).toEqual({
      line: 'POST /a%2Fb?c=d',
      host: 'api.example.com',
      a: '1',
      agent: 'steward',
      connection: 'close',
      body: '{"x":1}',
    });
  });

  it('unpacks gzip and brotli', async () => {
    for (const [encoding, body] of [
      ['gzip', gzipSync('packed')],
      ['br', brotliCompressSync('packed')],
    ] as const) {
      const result = await callServer({
        http: (_, response) => response.writeHead(200, { 'content-encoding': encoding }).end(body),
      });
      expect(result).toEqual({ kind: 'answered', status: 200, body: 'packed' });
    }
  });

  it('reaches a private host of the configuration by the real network', async () => {
    const server = await startServer({ http: (_, response) => response.end('inside') });
    opened.push(server);
    const target = { host: `127.0.0.1:${server.port}`, http: true, private: true };
    const byName = { host: `localhost:${server.port}`, http: true, private: true };
    const egress = createEgress(realNetwork);
    expect(await egress(buildRequest({ target }))).toEqual({ kind: 'answered', status: 200, body: 'inside' });
    expect(await egress(buildRequest({ target: byName }))).toMatchObject({ kind: 'answered', body: 'inside' });
    const asPublic = { ...byName, private: false };
    expect(await egress(buildRequest({ target: asPublic }))).toEqual({ kind: 'not_sent', code: 'ADDRESS_REFUSED' });
  });

  it('takes the last answer when the server first says 103', async () => {
    const hints = 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n';
    const result = await callServer(inBytes(`${hints}${ok}content-length: 4\r\n\r\ndone`));
    expect(result).toEqual({ kind: 'answered', status: 200, body: 'done' });
  });
});

describe('an answer that is too much', () => {
  const tooLarge = { kind: 'unclear', code: 'RESPONSE_TOO_LARGE' };
  const large = 'x'.repeat(20_000);

  it('is dropped at the limit, with a length or without one', async () => {
    const withLength = inBytes(`${ok}content-length: 20000\r\n\r\n${large}`);
    expect(await callServer(withLength, { maxBytes: 10_000 })).toEqual(tooLarge);
    expect(await callServer(inBytes(`${ok}\r\n${large}`), { maxBytes: 10_000 })).toEqual(tooLarge);
    expect(await callServer(withLength, { maxBytes: 20_000 })).toMatchObject({ kind: 'answered' });
  });

  it('is dropped while it still comes: an endless one does not fill the memory', async () => {
    let written = 0;
    const endless = (socket: Socket) => {
      socket.once('data', () => socket.write(`${ok}\r\n`));
      const more = () => {
        while (!socket.destroyed && written < 50_000_000) {
          written += 16_384;
          if (!socket.write(Buffer.alloc(16_384, 'x'))) return void socket.once('drain', more);
        }
      };
      socket.once('data', more);
    };
    expect(await callServer({ raw: endless }, { maxBytes: 10_000 })).toEqual(tooLarge);
    expect(written).toBeLessThan(50_000_000);
  });

  it.each([
    ['gzip', gzipSync(Buffer.alloc(5_000_000))],
    ['br', brotliCompressSync(Buffer.alloc(5_000_000))],
  ])('is not unpacked from %s beyond the limit', async (encoding, bomb) => {
    expect(bomb.byteLength).toBeLessThan(10_000);
    const head = `${ok}content-encoding: ${encoding}\r\ncontent-length: ${bomb.byteLength}\r\n\r\n`;
    expect(await callServer(inBytes(Buffer.concat([Buffer.from(head), bomb])), { maxBytes: 10_000 })).toEqual(tooLarge);
  });

  it('is refused when it is packed twice, or in a way nobody asked for', async () => {
    for (const encoding of ['gzip, gzip', 'zstd', 'compress', '__proto__'])
      expect(
        await callServer({ http: (_, response) => response.writeHead(200, { 'content-encoding': encoding }).end('x') }),
      ).toEqual({ kind: 'unclear', code: 'ENCODING_REFUSED' });
  });

  it('is refused when its headers do not end', async () => {
    const result = await callServer(inBytes(`${ok}${`x-a: ${'y'.repeat(1_000)}\r\n`.repeat(40)}\r\n`));
    expect(result).toEqual({ kind: 'unclear', code: 'UND_ERR_HEADERS_OVERFLOW' });
  });
});

describe('an answer that cannot be read', () => {
  it.each<[string, Parameters<typeof startServer>[0]]>([
    ['is cut short', inBytes(`${ok}content-length: 10\r\n\r\nhalf`)],
    ['is reset', inBytes(`${ok}content-length: 10\r\n\r\nhalf`, 'reset')],
    ['never began', inBytes('')],
    ['is reset before it began', inBytes('', 'reset')],
    ['is no HTTP', inBytes('220 smtp.example.com ESMTP\r\n')],
    ['has two lengths', inBytes(`${ok}content-length: 1\r\ncontent-length: 2\r\n\r\nab`)],
    ['is broken gzip', inBytes(`${ok}content-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd`)],
    ['switches protocols', inBytes('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n')],
  ])('is unclear when it %s', async (_, answer) => {
    expect(await callServer(answer, { method: 'POST', body: '{}' })).toMatchObject({ kind: 'unclear' });
  });

  it('is not asked for again', async () => {
    let connections = 0;
    const result = await callServer({
      raw: (socket) => {
        connections += 1;
        socket.once('data', () => socket.resetAndDestroy());
      },
    });
    expect(result).toEqual({ kind: 'unclear', code: 'ECONNRESET' });
    expect(connections).toBe(1);
  });
});

describe('the time of a call', () => {
  it.each<[string, Parameters<typeof startServer>[0]]>([
    ['never answers', { raw: () => undefined }],
    ['stops after the headers', inBytes(`${ok}content-length: 10\r\n\r\n`, 'open')],
    [
      'drips',
      {
        raw: (socket) =>
          void socket.once('data', () => {
            socket.write(ok);
            const timer = setInterval(() => socket.write('x: y\r\n'), 5);
            socket.on('close', () => clearInterval(timer));
          }),
      },
    ],
  ])('ends, unclear, when the server %s', async (_, answer) => {
    expect(await callServer(answer, { timeoutMs: 300 })).toEqual({ kind: 'unclear', code: 'CALL_TIMEOUT' });
  });

  it('ends, not sent, while the name is looked up or the connection made', async () => {
    const { network } = createTestNetwork({ port: 1 });
    const never = createEgress({ ...network, lookup: () => new Promise(() => undefined) });
    const timedOut = { kind: 'not_sent', code: 'CALL_TIMEOUT' };
    expect(await never(buildRequest({ timeoutMs: 50 }))).toEqual(timedOut);
    // A server that accepts and says nothing: TLS never comes about.
    const target = { host: 'api.example.com', http: false, private: false };
    expect(await callServer({ raw: () => undefined }, { target, timeoutMs: 300 })).toEqual(timedOut);
  });

  it('ends with the signal of the caller, and nothing is sent after it', async () => {
    const stop = new AbortController();
    const server = await startServer({ http: () => stop.abort() });
    opened.push(server);
    const { network, opened: sockets } = createTestNetwork({ port: server.port });
    const request = buildRequest({ signal: stop.signal });
    expect(await createEgress(network)(request)).toEqual({ kind: 'unclear', code: 'CALL_STOPPED' });
    expect(await createEgress(network)(request)).toEqual({ kind: 'not_sent', code: 'CALL_STOPPED' });
    expect(sockets).toHaveLength(1);
  });
});

describe('a connection that does not come about', () => {
  it('is not sent when nobody listens', async () => {
    const free = createServer();
    await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
    const { port } = free.address() as AddressInfo;
    await new Promise((resolve) => free.close(resolve));
    const { network } = createTestNetwork({ port });
    expect(await createEgress(network)(buildRequest())).toEqual({ kind: 'not_sent', code: 'ECONNREFUSED' });
  });

  it('is not sent when the server speaks no TLS, or hangs up', async () => {
    const target = { host: 'api.example.com', http: false, private: false };
    const plain = inBytes(`${ok}\r\n`);
    expect(await callServer(plain, { target })).toMatchObject({ kind: 'not_sent' });
    const closing = { raw: (socket: Socket) => void socket.end() };
    expect(await callServer(closing, { target })).toMatchObject({ kind: 'not_sent' });
  });
});
