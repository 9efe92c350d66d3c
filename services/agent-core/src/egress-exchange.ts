import type { Socket } from 'node:net';
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, type BrotliOptions, type ZlibOptions } from 'node:zlib';
import { Client, type Dispatcher } from 'undici';

export type EgressMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
export type Answer = { kind: 'answered'; status: number; body: string; location: string | null };
export type Unclear = { kind: 'unclear'; code: string };

type Exchange = {
  url: URL;
  method: EgressMethod;
  headers: Readonly<Record<string, string>>;
  body: string | null;
  maxBytes: number;
};

const maxHeaderBytes = 16_384;
type Decode = (packed: Buffer, limits: { maxOutputLength: number }) => Promise<Buffer>;
const decoders: ReadonlyMap<string, Decode> = new Map<string, Decode>([
  ['gzip', promisify<Buffer, ZlibOptions, Buffer>(gunzip)],
  ['deflate', promisify<Buffer, ZlibOptions, Buffer>(inflate)],
  ['br', promisify<Buffer, BrotliOptions, Buffer>(brotliDecompress)],
]);

/**
 * One request and its answer over this socket, which is closed afterwards. Never rejects: from here on bytes may have been
 * written, so whatever goes wrong is `unclear`. An answer of more than `maxBytes`, packed or unpacked, is not taken.
 */
export async function exchange(socket: Socket, o: Exchange, signal: AbortSignal): Promise<Answer | Unclear> {
  // A client of its own for each call: no connection is shared, none is opened again, and no proxy is looked for.
  const client = new Client(o.url.origin, {
    connect: handOver(socket),
    pipelining: 1,
    maxHeaderSize: maxHeaderBytes,
    // The deadline of the whole call is the signal's.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const stop = Promise.withResolvers<Unclear>();
  const onAbort = () => stop.resolve({ kind: 'unclear', code: toFailureCode(signal.reason) });
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    const packed = await Promise.race([receive(client, o), stop.promise]);
    return packed.kind === 'unclear' ? packed : await unpack(packed, o.maxBytes);
  } catch (error) {
    return { kind: 'unclear', code: toFailureCode(error) };
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.destroy();
    client.destroy().catch(() => undefined);
  }
}

/** Gives the client this socket once; a second connection there is none. */
function handOver(socket: Socket): NonNullable<Client.Options['connect']> {
  let given = false;
  return (_options, answer) => {
    // Not at once: the client does not look again for what it can do while it is still asking.
    setImmediate(() => {
      if (given || socket.destroyed) return answer(new Error('the connection is used up'), null);
      given = true;
      answer(null, socket);
    });
  };
}

type Packed = { kind: 'packed'; status: number; headers: Record<string, string | string[] | undefined>; bytes: Buffer };

function receive(client: Client, o: Exchange): Promise<Packed | Unclear> {
  return new Promise((resolve) => {
    let status = 0;
    let headers: Packed['headers'] = {};
    const chunks: Buffer[] = [];
    let byteCount = 0;
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart: () => undefined,
      onResponseStart: (_, statusCode, found) => {
        // Called for 1xx answers too: the last one counts.
        status = statusCode;
        headers = found;
      },
      onResponseData: (controller, chunk) => {
        byteCount += chunk.byteLength;
        if (byteCount <= o.maxBytes) return void chunks.push(chunk);
        resolve({ kind: 'unclear', code: 'RESPONSE_TOO_LARGE' });
        controller.abort(new Error('too large'));
      },
      onResponseEnd: () => resolve({ kind: 'packed', status, headers, bytes: Buffer.concat(chunks) }),
      onResponseError: (_, error) => resolve({ kind: 'unclear', code: toFailureCode(error) }),
    };
    const { pathname, search } = o.url;
    // `reset` says "Connection: close".
    client.dispatch(
      { path: `${pathname}${search}`, method: o.method, headers: o.headers, body: o.body, reset: true },
      handler,
    );
  });
}

async function unpack({ status, headers, bytes }: Packed, maxBytes: number): Promise<Answer | Unclear> {
  const location = typeof headers['location'] === 'string' ? headers['location'] : null;
  const encoding = String(headers['content-encoding'] ?? '')
    .trim()
    .toLowerCase();
  if (encoding === '' || encoding === 'identity' || bytes.byteLength === 0)
    return { kind: 'answered', status, body: bytes.toString('utf8'), location };
  // Encodings piled on each other are how bombs are built; no honest server needs them.
  const decode = decoders.get(encoding);
  if (decode === undefined) return { kind: 'unclear', code: 'ENCODING_REFUSED' };
  try {
    const plain = await decode(bytes, { maxOutputLength: maxBytes });
    return { kind: 'answered', status, body: plain.toString('utf8'), location };
  } catch (error) {
    const isLarge = toFailureCode(error) === 'ERR_BUFFER_TOO_LARGE';
    return { kind: 'unclear', code: isLarge ? 'RESPONSE_TOO_LARGE' : 'RESPONSE_UNREADABLE' };
  }
}

/** The code of an error, never its text: a text may quote addresses and headers. */
export function toFailureCode(error: unknown): string {
  const { code } = Object(error) as { code?: unknown };
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,60}$/.test(code) ? code : 'CALL_FAILED';
}
