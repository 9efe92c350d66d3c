import { connect, createServer } from 'node:net';
import pg from 'pg';

/** Free TCP ports on 127.0.0.1, below the range that outgoing connections take theirs from. */
export async function findFreePorts(count: number): Promise<number[]> {
  const found: number[] = [];
  for (let attempt = 0; attempt < 200 && found.length < count; attempt += 1) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (!found.includes(port) && (await canListen(port))) found.push(port);
  }
  if (found.length < count) throw new Error(`No ${count} free TCP ports between 20000 and 32000 on 127.0.0.1`);
  return found;
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** True when a superuser can log in there; false for "not yet" or "not this way". */
export async function isPostgresSuperuser(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 3_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ rolsuper: boolean }>(
      'select rolsuper from pg_roles where rolname = current_user',
    );
    return rows[0]?.rolsuper ?? false;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** True when an AMQP 0-9-1 server greets at the address of the URL. */
export function speaksAmqp(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: port === '' ? 5672 : Number(port) });
    const settle = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(3_000, () => settle(false));
    socket.once('error', () => settle(false));
    socket.once('close', () => resolve(false));
    socket.once('connect', () => socket.write(Buffer.from('AMQP\0\0\x09\x01', 'latin1')));
    // A method frame (type 1) is Connection.Start; anything else is a refusal.
    socket.once('data', (bytes) => settle(bytes[0] === 1));
  });
}

/** True when the management API answers this administrator. */
export async function answersManagement(managementUrl: string): Promise<boolean> {
  const { url, headers } = splitCredentials(managementUrl);
  try {
    const response = await fetch(`${url}/api/whoami`, { headers, signal: AbortSignal.timeout(3_000) });
    const text = await response.text();
    return response.ok && text.includes('administrator');
  } catch {
    return false;
  }
}

/** fetch() refuses credentials in a URL: they become a header. */
export function splitCredentials(urlWithCredentials: string): { url: string; headers: Record<string, string> } {
  const url = new URL(urlWithCredentials);
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = '';
  url.password = '';
  return {
    url: url.href.replace(/\/$/, ''),
    headers: { authorization: `Basic ${Buffer.from(pair).toString('base64')}` },
  };
}
