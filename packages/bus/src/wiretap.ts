import { type Socket, connect, createServer } from 'node:net';

/** A connection to the real server into which a test speaks with the server's voice. */
export type Wiretap = { url: string; inject: (frame: Buffer) => void; close: () => Promise<void> };

/** `connection.blocked` ("low on memory") and `connection.unblocked`, as the AMQP 0-9-1 extension page lays them out. */
export const blockedFrame = buildMethodFrame(10, 60, Buffer.concat([Buffer.from([13]), Buffer.from('low on memory')]));
export const unblockedFrame = buildMethodFrame(10, 61, Buffer.alloc(0));

function buildMethodFrame(classId: number, methodId: number, args: Buffer): Buffer {
  const head = Buffer.alloc(11);
  head.writeUInt8(1, 0);
  head.writeUInt16BE(0, 1);
  head.writeUInt32BE(4 + args.length, 3);
  head.writeUInt16BE(classId, 7);
  head.writeUInt16BE(methodId, 9);
  return Buffer.concat([head, args, Buffer.from([0xce])]);
}

/** A wire to the real server into which the test can speak with the server's voice while it is quiet. */
export async function createWiretap(serverUrl: string): Promise<Wiretap> {
  const { hostname, port } = new URL(serverUrl);
  const clients = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect({ host: hostname, port: Number(port) });
    clients.add(client);
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const url = new URL(serverUrl);
  url.host = `127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}`;
  return {
    url: url.href,
    inject: (frame: Buffer) => {
      for (const client of clients) client.write(frame);
    },
    close: () => {
      for (const client of clients) client.destroy();
      return new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}
