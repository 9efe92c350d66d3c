import { afterAll, afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { isIP, Socket } from 'node:net';
import { createApiClient } from './api-client.ts';

const path = '/robot/sendBySession?session=66d7';
const content = { kind: 'text', text: 'done' } as const;
const publicAddress = '93.184.216.34';

/** Where sockets were told to connect: the hook stands in for the network, so no packet leaves. */
let connects: string[] = [];
const families = new Map<string, number>();
beforeEach(() => {
  connects = [];
  jest.spyOn(Socket.prototype, 'connect').mockImplementation(function (this: Socket, ...args: unknown[]) {
    // Node's own arguments: [options, callback], or those in an array.
    const [options] = (Array.isArray(args[0]) ? args[0] : args) as [
      { host: string; lookup?: (name: string, o: object, done: (e: Error | null, a: unknown) => void) => void },
    ];
    const end = (code: string) => this.destroy(Object.assign(new Error(code), { code }));
    if (isIP(options.host) !== 0 || options.lookup === undefined) {
      connects.push(options.host);
      setImmediate(() => end('ECONNREFUSED'));
      return this;
    }
    const { host, lookup } = options;
    // Later, as a name server answers: whoever asked listens for errors by then.
    setImmediate(() =>
      lookup(host, { all: true }, (error, addresses) => {
        if (error !== null) return void this.destroy(error);
        connects.push(...(addresses as { address: string }[]).map(({ address }) => address));
        end('ECONNREFUSED');
      }),
    );
    return this;
  });
});
afterEach(() => void jest.restoreAllMocks());
afterAll(() => void process.stdout.write(`reply addresses by family: ${JSON.stringify([...families])}\n`));

const count = (family: string) => families.set(family, (families.get(family) ?? 0) + 1);

function send(o: { host: string; answers?: readonly string[][] }) {
  const answers = [...(o.answers ?? [[publicAddress]])];
  const api = createApiClient({
    apiUrl: 'https://api.dingtalk.com',
    oapiUrl: 'https://oapi.dingtalk.com',
    timeoutMs: 5_000,
    lookup: (_hostname, answer) => {
      const found = answers.length > 1 ? answers.shift() : answers[0];
      answer(
        null,
        (found ?? []).map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );
    },
  });
  const call = () =>
    api.sendBySession({
      sessionWebhook: `https://${o.host}${path}`,
      // A list that was written carelessly: the socket is the last line.
      rule: { hosts: [new URL(`https://${o.host}`).hostname], httpHosts: [] },
      content,
    });
  return call;
}

const refusal = { kind: 'session_gone', code: 'SESSION_WEBHOOK_REFUSED/address' };

const inside = [
  ...['127.0.0.1', '127.9.9.9', '10.0.0.5', '172.16.0.1', '172.31.255.254', '192.168.1.1', '169.254.169.254'],
  ...['169.254.0.9', '100.100.100.200', '100.64.0.1', '0.0.0.0', '0.1.2.3', '224.0.0.251', '255.255.255.255'],
  ...['240.0.0.1', '198.18.0.1', '203.0.113.7', '192.0.0.192', '168.63.129.16'],
];
const insideSix = [
  ...['::1', '::', 'fd12:3456::1', 'fd00:ec2::254', 'fe80::1', 'fec0::1', 'ff02::1', '2001:db8::1', '100::1'],
  ...['::ffff:127.0.0.1', '::ffff:a9fe:a9fe', '::127.0.0.1', '::ffff:0:10.0.0.1', '64:ff9b::7f00:1'],
  ...['64:ff9b::169.254.169.254', '64:ff9b:1::1', '2002:7f00:1::1', '2001:0:4136:e378::1', '4000::1'],
];

describe('reply address whose name leads inside', () => {
  it.each([...inside, ...insideSix])('opens no socket to %s', async (address) => {
    count(address.includes(':') ? 'name to IPv6' : 'name to IPv4');
    expect(await send({ host: 'oapi.dingtalk.com', answers: [[address]] })()).toMatchObject(refusal);
    expect(connects).toEqual([]);
  });

  it.each(inside)('opens no socket to any when %s comes after a public one', async (address) => {
    count('good and bad addresses');
    const answers = [[publicAddress, address]];
    expect(await send({ host: 'oapi.dingtalk.com', answers })()).toMatchObject(refusal);
    expect(connects).toEqual([]);
  });

  it.each(inside)('judges every connection anew when the name moves to %s', async (address) => {
    count('rebinding');
    const call = send({ host: 'oapi.dingtalk.com', answers: [[publicAddress], [address]] });
    expect(await call()).toMatchObject({ kind: 'retryable', code: 'ECONNREFUSED' });
    expect(await call()).toMatchObject(refusal);
    expect(connects).toEqual([publicAddress]);
  });

  it.each([[[]], [['localhost']], [['0177.0.0.1']], [['fe80::1%eth0']], [['/var/run/docker.sock']]])(
    'refuses an answer that is no address: %j',
    async (answer) => {
      count('no address');
      expect(await send({ host: 'oapi.dingtalk.com', answers: [answer] })()).toMatchObject(refusal);
      expect(connects).toEqual([]);
    },
  );
});

describe('reply address that is an address', () => {
  it.each(inside)('opens no socket to https://%s even if listed', async (address) => {
    count('listed IPv4');
    expect(await send({ host: address })()).toMatchObject(refusal);
    expect(connects).toEqual([]);
  });

  it.each(insideSix)('opens no socket to https://[%s] even if listed', async (address) => {
    count('listed IPv6');
    const { host } = new URL(`https://[${address}]`);
    expect(await send({ host })()).toMatchObject(refusal);
    expect(connects).toEqual([]);
  });
});

it('connects to the very address that was judged', async () => {
  expect(await send({ host: 'oapi.dingtalk.com' })()).toMatchObject({ kind: 'retryable', code: 'ECONNREFUSED' });
  expect(connects).toEqual([publicAddress]);
});
