import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createEgress } from './egress.ts';
import { buildRequest, createTestNetwork, publicAddress, startServer } from './egress.test-support.ts';

/** Requests that reached the server of this test, as "METHOD url". */
const reached: string[] = [];
let answerWith: { status: number; location: string } | null = null;
let server: Awaited<ReturnType<typeof startServer>>;
beforeAll(async () => {
  server = await startServer({
    http: (request, response) => {
      reached.push(`${request.method} ${request.url}`);
      if (answerWith !== null) response.writeHead(answerWith.status, { location: answerWith.location });
      response.end('inside');
    },
  });
});
afterAll(() => server.close());

type Setting = { names?: Record<string, string[][]>; private?: boolean; http?: boolean; path?: string };

async function callHost(host: string, o: Setting = {}) {
  reached.length = 0;
  const test = createTestNetwork({ port: server.port, names: o.names });
  const target = { host, http: o.http ?? true, private: o.private ?? false };
  const result = await createEgress(test.network)(buildRequest({ target, path: o.path ?? '/' }));
  return { result, opened: test.opened, looked: test.looked };
}

const refused = { kind: 'not_sent', code: 'ADDRESS_REFUSED' };
async function expectRefused(host: string, o: Setting = {}) {
  const { result, opened } = await callHost(host, o);
  expect(result).toEqual(refused);
  expect(opened).toEqual([]);
  expect(reached).toEqual([]);
}

describe('family "IPv4 that is not public"', () => {
  it.each([
    ['this machine', '127.0.0.1'],
    ['the whole loopback net', '127.99.1.2'],
    ['10/8', '10.0.0.5'],
    ['172.16/12', '172.31.255.254'],
    ['192.168/16', '192.168.1.1'],
    ['cloud metadata', '169.254.169.254'],
    ['link-local', '169.254.0.9'],
    ['Alibaba metadata in 100.64/10', '100.100.100.200'],
    ['carrier-grade NAT', '100.64.0.1'],
    ['0/8', '0.0.0.0'],
    ['the rest of 0/8', '0.1.2.3'],
    ['multicast', '224.0.0.251'],
    ['broadcast', '255.255.255.255'],
    ['reserved', '240.0.0.1'],
    ['benchmarks', '198.18.0.1'],
    ['documentation', '203.0.113.7'],
    ['IETF protocols, Oracle metadata', '192.0.0.192'],
    ["Azure's wire server", '168.63.129.16'],
  ])('refuses %s: %s', (_, host) => expectRefused(host));
});

describe('family "IPv4 spelled another way"', () => {
  it.each([
    ['one decimal number', '2130706433'],
    ['hexadecimal', '0x7f000001'],
    ['hexadecimal parts', '0x7f.0x0.0x0.0x1'],
    ['octal', '0177.0.0.1'],
    ['octal number', '017700000001'],
    ['two parts', '127.1'],
    ['three parts', '192.168.257'],
    ['zero', '0'],
    ['a trailing dot', '127.0.0.1.'],
    ['full-width digits', '１２７.0.0.1'],
    ['ideographic full stops', '169。254。169。254'],
    ['a port behind it', '127.0.0.1:80'],
    ['mixed spellings', '0xa9.254.0251.0376'],
  ])('refuses %s: %s', (_, host) => expectRefused(host));
});

describe('family "IPv6 that is not public, or hides IPv4"', () => {
  it.each([
    ['loopback', '[::1]'],
    ['loopback in full', '[0:0:0:0:0:0:0:1]'],
    ['unspecified', '[::]'],
    ['unique local', '[fd12:3456::1]'],
    ['AWS metadata', '[fd00:ec2::254]'],
    ['link-local', '[fe80::1]'],
    ['site-local', '[fec0::1]'],
    ['multicast', '[ff02::1]'],
    ['documentation', '[2001:db8::1]'],
    ['discard', '[100::1]'],
    ['mapped loopback', '[::ffff:127.0.0.1]'],
    ['mapped metadata in hexadecimal', '[::ffff:a9fe:a9fe]'],
    ['compatible loopback', '[::127.0.0.1]'],
    ['translated (SIIT) private', '[::ffff:0:10.0.0.1]'],
    ['NAT64 of loopback', '[64:ff9b::7f00:1]'],
    ['NAT64 of metadata', '[64:ff9b::169.254.169.254]'],
    ['local NAT64', '[64:ff9b:1::1]'],
    ['6to4 of loopback', '[2002:7f00:1::1]'],
    ['Teredo', '[2001:0:4136:e378::1]'],
    ['outside 2000::/3', '[4000::1]'],
  ])('refuses %s: %s', (_, host) => expectRefused(host));
});

describe('family "names that lead inside"', () => {
  const cases: [string, string[]][] = [
    ['loopback', ['127.0.0.1']],
    ['loopback in IPv6', ['::1']],
    ['metadata', ['169.254.169.254']],
    ['a private net', ['10.1.2.3']],
    ['carrier-grade NAT', ['100.64.3.4']],
    ['unique local', ['fd00::7']],
    ['mapped IPv4', ['::ffff:192.168.0.1']],
    ['NAT64', ['64:ff9b::a00:1']],
    ['a good address and a bad one', [publicAddress, '127.0.0.1']],
    ['a bad one and a good one', ['10.0.0.1', publicAddress]],
    ['an interface of its own choice', ['2606:4700::1111%eth0']],
    ['no address', []],
    ['something that is no address', ['localhost']],
    ['an octal spelling', ['0177.0.0.1']],
    ['a path to a socket', ['/var/run/docker.sock']],
    ['more addresses than any service has', Array.from({ length: 33 }, (_, at) => `93.184.216.${at}`)],
  ];
  it.each(cases)('refuses a name with %s', (_, answer) =>
    expectRefused('api.example.com', { names: { 'api.example.com': [answer] } }),
  );

  it.each([
    ['localhost'],
    ['localhost.'],
    ['LOCALHOST'],
    ['ⓛocalhost'],
    ['metadata.google.internal'],
    ['127.0.0.1.nip.io'],
    ['xn--lcalhost-1c8d'],
  ])('looks %s up and judges the address, not the spelling', async (host) => {
    const name = new URL(`http://${host}`).hostname;
    await expectRefused(host, { names: { [name]: [['127.0.0.1']] } });
  });

  it('refuses a name that nobody knows, without opening a socket', async () => {
    const { result, opened } = await callHost('gone.example.com', { names: { 'gone.example.com': [] } });
    expect(result).toEqual({ kind: 'not_sent', code: 'ENOTFOUND' });
    expect(opened).toEqual([]);
  });
});

describe('family "answers of the name server that change"', () => {
  const rebinding = { 'api.example.com': [[publicAddress], ['127.0.0.1']] };

  it('asks once for a call, and connects to what it judged', async () => {
    const { result, opened, looked } = await callHost('api.example.com', { names: rebinding });
    expect(result).toMatchObject({ kind: 'answered', status: 200 });
    expect(looked).toEqual(['api.example.com']);
    expect(opened).toEqual([{ hostname: 'api.example.com', port: 80, addresses: [publicAddress] }]);
  });

  it('judges the name again when a redirect uses it again', async () => {
    answerWith = { status: 302, location: '/second' };
    const { result, opened, looked } = await callHost('api.example.com', { names: rebinding });
    answerWith = null;
    expect(result).toEqual({ kind: 'unclear', code: 'ADDRESS_REFUSED' });
    expect(looked).toHaveLength(2);
    expect(opened).toHaveLength(1);
    expect(reached).toEqual(['GET /']);
  });

  it('judges the name again for every call', async () => {
    const test = createTestNetwork({ port: server.port, names: rebinding });
    const egress = createEgress(test.network);
    expect(await egress(buildRequest())).toMatchObject({ kind: 'answered' });
    expect(await egress(buildRequest())).toEqual(refused);
    expect(test.opened).toHaveLength(1);
  });
});

describe('family "redirects that lead elsewhere"', () => {
  it.each([
    ['another host', 'http://evil.example.com/'],
    ['metadata', 'http://169.254.169.254/latest/meta-data/'],
    ['another port', 'http://api.example.com:8080/'],
    ['another scheme', 'https://api.example.com/'],
    ['a host without a scheme', '//evil.example.com/x'],
    ['backslashes for slashes', '\\\\evil.example.com\\x'],
    ['a user before the same host', 'http://a:b@api.example.com/'],
    ['a host behind an @', 'http://api.example.com@evil.example.com/'],
    ['a host that begins alike', 'http://api.example.com.evil.example.com/'],
    ['a trailing dot', 'http://api.example.com./'],
    ['a file', 'file:///etc/passwd'],
    ['a script', 'javascript:alert(1)'],
    ['a socket', 'unix:/var/run/docker.sock'],
    ['no URL', 'http://[::'],
  ])('does not follow one to %s: %s', async (_, location) => {
    answerWith = { status: 302, location };
    const { result, opened } = await callHost('api.example.com');
    answerWith = null;
    expect(result).toEqual({ kind: 'unclear', code: 'REDIRECT_REFUSED' });
    expect(opened).toHaveLength(1);
    expect(reached).toEqual(['GET /']);
  });

  it('follows three of the same origin and not a fourth', async () => {
    answerWith = { status: 307, location: 'http://API.example.com:80/again' };
    const { result } = await callHost('api.example.com');
    answerWith = null;
    expect(result).toEqual({ kind: 'unclear', code: 'REDIRECTS_TOO_MANY' });
    expect(reached).toEqual(['GET /', 'GET /again', 'GET /again', 'GET /again']);
  });

  it.each(['POST', 'PUT', 'PATCH', 'DELETE'] as const)(
    'follows none of a %s: the redirect is its answer',
    async (method) => {
      answerWith = { status: 307, location: '/again' };
      reached.length = 0;
      const { network } = createTestNetwork({ port: server.port });
      const result = await createEgress(network)(buildRequest({ method, body: method === 'DELETE' ? null : '{}' }));
      answerWith = null;
      expect(result).toMatchObject({ kind: 'answered', status: 307 });
      expect(reached).toEqual([`${method} /`]);
    },
  );
});

describe('family "URLs that are not what they seem"', () => {
  const urlRefused = { kind: 'not_sent', code: 'URL_REFUSED' };
  it.each([
    ['climbs', '/a/../admin'],
    ['climbs encoded', '/a/%2e%2e/admin'],
    ['stays by a dot', '/a/./b'],
    ['ends in two dots', '/a/..'],
    ['has backslashes', '/a\\..\\b'],
    ['has a space', '/a b'],
    ['has a line end', '/a\r\nHost: evil'],
    ['has a tab', '/a\tb'],
    ['has NUL', '/a\u0000b'],
    ['has a fragment', '/a#b'],
    ['is not encoded', '/ä'],
    ['does not begin with a slash', 'a'],
    ['is a user of another host', '@evil.example.com/'],
    ['is a whole URL', 'http://evil.example.com/'],
    ['is empty', ''],
    ['is endless', `/${'a'.repeat(8_001)}`],
  ])('refuses a path that %s: %j', async (_, path) => {
    const { result, opened, looked } = await callHost('api.example.com', { path });
    expect([result, opened, looked]).toEqual([urlRefused, [], []]);
  });

  it('never takes a path that looks like a host for one', async () => {
    const { opened } = await callHost('api.example.com', { path: '//evil.example.com/' });
    expect([opened[0]?.hostname, reached]).toEqual(['api.example.com', ['GET //evil.example.com/']]);
  });

  it.each([
    ['a user', 'a:b@api.example.com'],
    ['a user of another host', 'api.example.com@evil.example.com'],
    ['a path', 'api.example.com/x'],
    ['a query', 'api.example.com?x'],
    ['a fragment', 'api.example.com#x'],
    ['a backslash', 'api.example.com\\@evil.example.com'],
    ['nothing', ''],
    ['a port out of range', 'api.example.com:99999'],
    ['a space', 'api .example.com'],
    ['a percent sign', '127.0.0.1%00.example.com'],
  ])('refuses a host with %s: %j', async (_, host) => {
    const { result, opened } = await callHost(host);
    expect([result, opened]).toEqual([urlRefused, []]);
  });
});

describe('family "proxies of the environment"', () => {
  it.each(['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'ALL_PROXY', 'NODE_USE_ENV_PROXY'])(
    'does not use %s',
    async (name) => {
      const before = process.env[name];
      process.env[name] = name === 'NODE_USE_ENV_PROXY' ? '1' : 'http://10.0.0.1:3128';
      try {
        const { result, opened } = await callHost('api.example.com');
        expect(result).toMatchObject({ kind: 'answered' });
        expect(opened).toEqual([{ hostname: 'api.example.com', port: 80, addresses: [publicAddress] }]);
        expect(reached).toEqual(['GET /']);
      } finally {
        if (before === undefined) Reflect.deleteProperty(process.env, name);
        else process.env[name] = before;
      }
    },
  );
});

describe('a host that the configuration calls private', () => {
  it.each([
    ['127.0.0.1'],
    ['10.0.0.5'],
    ['192.168.1.1'],
    ['100.64.0.1'],
    ['[::1]'],
    ['[fd12::1]'],
    ['[::ffff:10.0.0.1]'],
    [publicAddress],
  ])('is called at %s', async (host) => {
    const { result, opened } = await callHost(host, { private: true });
    expect(result).toMatchObject({ kind: 'answered', body: 'inside' });
    expect(opened).toHaveLength(1);
  });

  it.each([
    ['169.254.169.254'],
    ['0.0.0.0'],
    ['224.0.0.1'],
    ['255.255.255.255'],
    ['240.0.0.1'],
    ['168.63.129.16'],
    ['[fe80::1]'],
    ['[ff02::1]'],
    ['[::]'],
    ['[::ffff:169.254.169.254]'],
    ['[64:ff9b::a9fe:a9fe]'],
    ['[2002:7f00:1::1]'],
  ])('is still not called at %s', (host) => expectRefused(host, { private: true }));
});

describe('a public host', () => {
  it.each([
    ['93.184.216.34'],
    ['[2606:4700:4700::1111]'],
    ['[64:ff9b::808:808]'],
    ['[::ffff:8.8.8.8]'],
    ['api.example.com.'],
  ])('is called at %s', async (host) => {
    const { result } = await callHost(host);
    expect(result).toMatchObject({ kind: 'answered', status: 200 });
  });

  it('is called over https on port 443, and never in plain text', async () => {
    const { result, opened } = await callHost('api.example.com', { http: false });
    expect(opened).toEqual([{ hostname: 'api.example.com', port: 443, addresses: [publicAddress] }]);
    expect(result).toMatchObject({ kind: 'not_sent' });
    expect(reached).toEqual([]);
  });
});
