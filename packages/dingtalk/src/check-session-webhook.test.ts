import { describe, expect, it } from '@jest/globals';
import { checkSessionWebhook } from './check-session-webhook.ts';

const rule = { hosts: ['oapi.dingtalk.com'], httpHosts: [] };
const testRule = { hosts: ['oapi.dingtalk.com'], httpHosts: ['127.0.0.1:9090'] };
const path = '/robot/sendBySession?session=66d7';

describe('session webhook check', () => {
  it('accepts the documented address', () => {
    expect(checkSessionWebhook(`https://oapi.dingtalk.com${path}`, rule)).toEqual({ ok: true });
  });

  it('accepts plain http only for a listed host and port', () => {
    expect(checkSessionWebhook(`http://127.0.0.1:9090${path}`, testRule)).toEqual({ ok: true });
    for (const host of ['127.0.0.1:9091', '127.0.0.1', 'localhost:9090', 'oapi.dingtalk.com']) {
      expect(checkSessionWebhook(`http://${host}${path}`, testRule)).toEqual({ ok: false, reason: 'scheme' });
    }
  });

  it.each([
    // family: another host
    ['another host', `https://evil.example${path}`, 'host'],
    ['a subdomain', `https://x.oapi.dingtalk.com${path}`, 'host'],
    ['a suffix trick', `https://oapi.dingtalk.com.evil.example${path}`, 'host'],
    ['a trailing dot', `https://oapi.dingtalk.com.${path}`, 'host'],
    ['a look-alike in punycode', `https://xn--oapi-dingtalk-9fb.com${path}`, 'host'],
    ['loopback', `https://127.0.0.1${path}`, 'host'],
    ['loopback in IPv6', `https://[::1]${path}`, 'host'],
    ['cloud metadata', `https://169.254.169.254${path}`, 'host'],
    // family: an address hidden from the eye
    ['a look-alike letter', `https://оapi.dingtalk.com${path}`, 'not_canonical'],
    ['an upper-case host', `https://OAPI.dingtalk.com${path}`, 'not_canonical'],
    ['loopback as a number', `https://2130706433${path}`, 'not_canonical'],
    ['loopback in octal', `https://0177.0.0.1${path}`, 'not_canonical'],
    ['a percent-encoded host', `https://oapi%2Edingtalk.com${path}`, 'not_canonical'],
    ['a full-width dot', `https://oapi。dingtalk.com${path}`, 'not_canonical'],
    // family: credentials
    ['a host as user name', `https://oapi.dingtalk.com@evil.example${path}`, 'userinfo'],
    ['user and password', `https://a:b@oapi.dingtalk.com${path}`, 'userinfo'],
    ['an encoded at sign', `https://oapi.dingtalk.com%40evil.example${path}`, 'not_canonical'],
    // family: parser disagreement
    ['backslashes', `https:\\\\oapi.dingtalk.com${path}`, 'not_canonical'],
    ['a backslash before the at sign', `https://evil.example\\@oapi.dingtalk.com${path}`, 'not_canonical'],
    ['a tab in the scheme', `ht\ttps://oapi.dingtalk.com${path}`, 'not_canonical'],
    ['a newline at the end', `https://oapi.dingtalk.com${path}\n`, 'not_canonical'],
    ['a leading blank', ` https://oapi.dingtalk.com${path}`, 'not_canonical'],
    ['no slashes', `https:oapi.dingtalk.com${path}`, 'not_canonical'],
    ['three slashes', `https:///oapi.dingtalk.com${path}`, 'not_canonical'],
    ['a fragment', `https://oapi.dingtalk.com${path}#x`, 'not_canonical'],
    ['an empty fragment', `https://oapi.dingtalk.com${path}#`, 'not_canonical'],
    ['header injection', `https://oapi.dingtalk.com${path}\r\nHost: evil`, 'not_canonical'],
    // family: scheme and port
    ['plain http', `http://oapi.dingtalk.com${path}`, 'scheme'],
    ['ftp', `ftp://oapi.dingtalk.com${path}`, 'scheme'],
    ['a file', 'file:///etc/passwd', 'scheme'],
    ['a script', 'javascript:alert(1)', 'scheme'],
    ['another port', `https://oapi.dingtalk.com:8443${path}`, 'port'],
    ['the default port written out', `https://oapi.dingtalk.com:443${path}`, 'not_canonical'],
    // family: path and session
    ['another path', 'https://oapi.dingtalk.com/robot/send?session=66d7', 'path'],
    ['another case', 'https://oapi.dingtalk.com/robot/sendbysession?session=66d7', 'path'],
    ['dot segments', 'https://oapi.dingtalk.com/robot/sendBySession/../send?session=1', 'not_canonical'],
    ['encoded dot segments', 'https://oapi.dingtalk.com/robot/sendBySession/%2e%2e/x?session=1', 'not_canonical'],
    ['an encoded slash', 'https://oapi.dingtalk.com/robot%2FsendBySession?session=1', 'path'],
    ['a deeper path', 'https://oapi.dingtalk.com/robot/sendBySession/x?session=1', 'path'],
    ['no session', 'https://oapi.dingtalk.com/robot/sendBySession', 'session'],
    ['an empty session', 'https://oapi.dingtalk.com/robot/sendBySession?session=', 'session'],
    ['no address at all', '', 'not_canonical'],
    ['an endless address', `https://oapi.dingtalk.com${path}${'a'.repeat(2_000)}`, 'not_canonical'],
  ])('refuses %s', (_name, address, reason) => {
    expect(checkSessionWebhook(address, rule)).toEqual({ ok: false, reason });
  });
});
