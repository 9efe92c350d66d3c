/** Where a robot may answer. `httpHosts` (host:port) is for robots of a test environment only and empty otherwise. */
export type SessionWebhookRule = { hosts: readonly string[]; httpHosts: readonly string[] };

export type SessionWebhookVerdict =
  { ok: true } | { ok: false; reason: 'not_canonical' | 'scheme' | 'userinfo' | 'host' | 'port' | 'path' | 'session' };

const maxLength = 2_000;

/**
 * Whether an address from a payload may be POSTed to. The robot signature does not cover the body, so the address is
 * hostile until proven: https, an exactly listed host, no port, the one documented path, a session, and written in the
 * one canonical spelling (no odd encodings, dot segments, fragments, blanks or upper-case hosts). Pure.
 */
export function checkSessionWebhook(address: string, rule: SessionWebhookRule): SessionWebhookVerdict {
  const url = address.length <= maxLength && URL.canParse(address) ? new URL(address) : null;
  // Whatever the parser would repair, another parser may read differently.
  if (url?.href !== address || address.includes('#')) return { ok: false, reason: 'not_canonical' };
  if (url.username !== '' || url.password !== '') return { ok: false, reason: 'userinfo' };
  if (url.protocol === 'http:') {
    if (!rule.httpHosts.includes(url.host)) return { ok: false, reason: 'scheme' };
  } else {
    if (url.protocol !== 'https:') return { ok: false, reason: 'scheme' };
    if (!rule.hosts.includes(url.hostname)) return { ok: false, reason: 'host' };
    if (url.port !== '') return { ok: false, reason: 'port' };
  }
  if (url.pathname !== '/robot/sendBySession') return { ok: false, reason: 'path' };
  return url.searchParams.get('session') ? { ok: true } : { ok: false, reason: 'session' };
}
