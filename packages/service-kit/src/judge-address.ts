import ipaddr from 'ipaddr.js';

/** Azure answers its virtual machines on this one public address: it is of the machine's own network all the same. */
const azureWireServer = '168.63.129.16';
/** What a host that is configured as private may have besides public addresses. */
const privateRanges: readonly string[] = ['private', 'loopback', 'carrierGradeNat', 'uniqueLocal'];

/**
 * Whether a service may connect to this address (four decimal parts, or IPv6). Public unicast: yes. Private, loopback,
 * carrier-grade and unique-local ones: only where the configuration calls the host private. Everything else (link-local
 * with its metadata services, unspecified, multicast, reserved, tunnels), and what is no address: never. IPv4 inside
 * IPv6 (mapped, and the well-known NAT64 prefix of RFC 6052) counts as what it is. Pure.
 */
export function judgeAddress(address: string, o: { private: boolean }): 'allow' | 'deny' {
  const plain = toPlain(address);
  if (plain === null || plain.toString() === azureWireServer) return 'deny';
  const range: string = plain.range();
  if (range === 'unicast') return isGlobal(plain) ? 'allow' : 'deny';
  return o.private && privateRanges.includes(range) ? 'allow' : 'deny';
}

function toPlain(address: string): ipaddr.IPv4 | ipaddr.IPv6 | null {
  if (ipaddr.IPv4.isValidFourPartDecimal(address)) return ipaddr.IPv4.parse(address);
  // A zone such as %eth0 chooses an interface: no address from outside has one.
  if (address.includes('%') || !ipaddr.IPv6.isValid(address)) return null;
  const six = ipaddr.IPv6.parse(address);
  const [a, b, ...rest] = six.parts;
  const isMapped = six.parts.slice(0, 5).every((part) => part === 0) && six.parts[5] === 0xffff;
  const isNat64 = a === 0x64 && b === 0xff9b && rest.slice(0, 4).every((part) => part === 0);
  return isMapped || isNat64 ? new ipaddr.IPv4(six.toByteArray().slice(12)) : six;
}

/** Global unicast IPv6 is 2000::/3 (RFC 4291); "unicast" of the library is whatever has no other name. */
function isGlobal(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  return address.kind() === 'ipv4' || ((address.toByteArray()[0] ?? 0) & 0xe0) === 0x20;
}
