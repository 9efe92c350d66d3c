import { BlockList, isIP } from 'node:net';

/** Ranges that mean "this machine" or "this network" (IANA special-purpose registries), so never DingTalk. */
const PRIVATE_RANGES: readonly [network: string, prefix: number, family: 'ipv4' | 'ipv6'][] = [
  ['0.0.0.0', 8, 'ipv4'],
  ['10.0.0.0', 8, 'ipv4'],
  ['100.64.0.0', 10, 'ipv4'],
  ['127.0.0.0', 8, 'ipv4'],
  ['169.254.0.0', 16, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'],
  ['192.168.0.0', 16, 'ipv4'],
  ['198.18.0.0', 15, 'ipv4'],
  ['224.0.0.0', 3, 'ipv4'],
  ['::', 127, 'ipv6'],
  ['64:ff9b::', 96, 'ipv6'],
  ['fc00::', 7, 'ipv6'],
  ['fe80::', 10, 'ipv6'],
  ['ff00::', 8, 'ipv6'],
];

/**
 * True if a URL's hostname (as the URL class gives it) is loopback, private, link-local or a name that only a local
 * network knows. IPv4 written inside IPv6 counts as what it is. Pure: names are not resolved.
 */
export function isPrivateHost(hostname: string): boolean {
  const host = hostname.toLowerCase().replace(/^\[|\]$|\.$/g, '');
  const family = isIP(host);
  if (family === 0) return !host.includes('.') || /\.(?:localhost|local|internal|lan|home\.arpa)$/.test(host);
  const ranges = new BlockList();
  for (const [network, prefix, kind] of PRIVATE_RANGES) ranges.addSubnet(network, prefix, kind);
  return ranges.check(host, family === 4 ? 'ipv4' : 'ipv6');
}
