import { lookup as lookupName, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { judgeAddress } from '@steward/service-kit';
import { Agent, buildConnector } from 'undici';

/** Every address of a host name. */
export type LookupAll = (
  hostname: string,
  answer: (error: Error | null, addresses: readonly LookupAddress[]) => void,
) => void;

const maxAddresses = 32;

const lookupAll: LookupAll = (hostname, answer) =>
  lookupName(hostname, { all: true, order: 'verbatim' }, (error, addresses) => answer(error, addresses));

/**
 * Connections to public addresses only, judged where the socket asks for them: the addresses that are judged are the very
 * ones that are connected to, so no second answer of a name server comes between. One forbidden address among good ones
 * refuses all. Refused connections fail with `ADDRESS_REFUSED` before a packet leaves.
 */
export function createGuardedAgent(lookup: LookupAll = lookupAll): Agent {
  const connect = buildConnector({ lookup: toJudged(lookup), timeout: 10_000 });
  return new Agent({
    connect: (options, callback) => {
      // An address in the URL is connected to without a look-up, so it is judged here.
      const host = options.hostname.replace(/^\[|\]$/g, '');
      if (isIP(host) !== 0 && judgeAddress(host, { private: false }) === 'deny') return callback(refused(), null);
      connect(options, callback);
    },
  });
}

function toJudged(lookup: LookupAll): LookupFunction {
  return (hostname, options, answer) =>
    lookup(hostname, (error, addresses) => {
      if (error !== null) return answer(error, '');
      const isPermitted = addresses.every(({ address }) => judgeAddress(address, { private: false }) === 'allow');
      const [first] = addresses;
      if (first === undefined || addresses.length > maxAddresses || !isPermitted) return answer(refused(), '');
      if (options.all === true) return answer(null, [...addresses]);
      answer(null, first.address, first.family);
    });
}

// A plain error: fetch passes on no other kind of another realm.
const refused = () =>
  Object.assign(new Error('the host has an address that is not public'), { code: 'ADDRESS_REFUSED' });
