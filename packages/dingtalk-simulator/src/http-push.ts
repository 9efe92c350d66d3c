import { openEvent, sealEvent } from './event-crypto.ts';
import type { EventKeys } from './event-crypto.ts';
import { createPoster } from './post-json.ts';
import type { Poster } from './post-json.ts';
import { freshId } from './random.ts';
import type { Attempt } from './records.ts';
import { parseObject, textField } from './reply.ts';
import { buildCardSign, buildSign, buildSignedHeaders } from './signatures.ts';
import type { Simulation } from './simulation.ts';
import type { SimulatorApp } from './world.ts';

type Payload = Record<string, unknown>;
export type CardRoute = { url: string; secret?: string };
export type HttpPusher = {
  pushRobot(app: SimulatorApp, payload: Payload): Promise<Attempt>;
  /** To the route that was registered for the card, else to the app's own callback. */
  pushCard(app: SimulatorApp, payload: Payload, route?: CardRoute): Promise<Attempt>;
  pushEvent(app: SimulatorApp, payload: Payload): Promise<Attempt>;
  close(): void;
};

/** Calls the HTTP callbacks of the program under test, signed as the platform signs (reference sections 1, 3, 7.4). */
export function createHttpPusher(simulation: Simulation): HttpPusher {
  const poster = createPoster();
  const lastHeaders = new Map<string, Record<string, string>>();
  const post = (call: Call): Promise<Attempt> => pushJson(simulation, poster, call);

  const signed = (
    key: string,
    o: Omit<Parameters<typeof buildSignedHeaders>[0], 'nowMs' | 'last'>,
  ): Record<string, string> => {
    const headers = buildSignedHeaders({ ...o, nowMs: simulation.now(), last: lastHeaders.get(key) });
    if (o.fault === 'good') lastHeaders.set(key, headers);
    return headers;
  };
  return {
    pushRobot: (app, payload) => {
      const headers = signed(`robot ${app.appKey}`, {
        fault: simulation.faults.robotSignature,
        names: { timestamp: 'timestamp', sign: 'sign' },
        sign: (timestamp) => buildSign(timestamp, app.appSecret),
      });
      return post({
        url: app.callback?.robotUrl,
        headers,
        body: payload,
        timeoutMs: simulation.faults.robotPushTimeoutMs,
      });
    },
    pushCard: (app, payload, route) => {
      const { url, secret } = route ?? { url: app.callback?.cardUrl, secret: app.callback?.cardSecret };
      const names = { timestamp: 'x-ddpaas-signature-timestamp', sign: 'x-ddpaas-signature' };
      const fault = simulation.faults.cardSignature;
      // Signed only if a secret was registered with the callback (reference section 7.4).
      const sign = (timestamp: string): string => buildCardSign(timestamp, secret ?? '');
      const headers = secret === undefined ? {} : signed(`card ${app.appKey}`, { fault, names, sign });
      return post({
        url,
        headers,
        body: payload,
        timeoutMs: simulation.faults.cardPushTimeoutMs,
      });
    },
    pushEvent: async (app, payload) => {
      const { eventUrl, eventToken, eventAesKey, eventOwnerKey } = app.callback ?? {};
      if (!eventUrl || !eventToken || !eventAesKey) return { at: simulation.now(), ms: 0, outcome: 'no-door' };
      const keys = { token: eventToken, aesKey: eventAesKey, ownerKey: eventOwnerKey ?? app.appKey };
      const { url, body } = buildEventCall(simulation, eventUrl, keys, payload);
      const attempt = await post({ url, headers: {}, body, timeoutMs: simulation.faults.eventPushTimeoutMs });
      return attempt.outcome === 'acked' ? checkEventAnswer(keys, attempt) : attempt;
    },
    close: () => poster.close(),
  };
}

function buildEventCall(
  s: Simulation,
  eventUrl: string,
  keys: EventKeys,
  payload: Payload,
): { url: string; body: Payload } {
  const { eventCrypto, eventParamSpelling } = s.faults;
  const sealed = sealEvent(
    eventCrypto === 'wrongOwner' ? { ...keys, ownerKey: `${keys.ownerKey}-other` } : keys,
    JSON.stringify(payload),
    { timestamp: `${s.now()}`, nonce: freshId(4), pad: eventCrypto === 'wrongPad' ? 'wrong' : 'pkcs32' },
  );
  const url = new URL(eventUrl);
  const signature = eventCrypto === 'badSignature' ? '0'.repeat(40) : sealed.signature;
  // Both spellings are in official pages (reference section 3.2).
  url.searchParams.set(eventParamSpelling, signature);
  url.searchParams.set(eventParamSpelling === 'signature' ? 'timeStamp' : 'timestamp', sealed.timestamp);
  url.searchParams.set('nonce', sealed.nonce);
  return { url: url.href, body: { encrypt: sealed.encrypt } };
}

/** An event counts as received only when the answer is the sealed word success (reference section 3.4). */
function checkEventAnswer(keys: EventKeys, attempt: Attempt): Attempt {
  const answer = typeof attempt.answer === 'object' ? { ...attempt.answer } : {};
  const opened = openEvent(keys, {
    ...{ encrypt: textField(answer, 'encrypt'), signature: textField(answer, 'msg_signature') },
    ...{ timestamp: textField(answer, 'timeStamp'), nonce: textField(answer, 'nonce') },
  });
  if ('refused' in opened) return { ...attempt, outcome: 'refused', error: opened.refused };
  return opened.text === 'success'
    ? { ...attempt, answer: 'success' }
    : { ...attempt, outcome: 'refused', error: `answered ${opened.text.slice(0, 100)}` };
}

type Call = { url: string | undefined; headers: Record<string, string>; body: Payload; timeoutMs: number };

async function pushJson(s: Simulation, poster: Poster, { url, headers, body, timeoutMs }: Call): Promise<Attempt> {
  const at = s.now();
  if (url === undefined) return { at, ms: 0, outcome: 'no-door' };
  const answered = await poster.post({ url, headers, body, timeoutMs });
  const attempt = { at, ms: s.now() - at, headers };
  if ('failed' in answered) return { ...attempt, outcome: answered.failed, error: answered.error };
  const { status, text } = answered;
  // A redirect is refused like any other status: the platform does not follow it.
  const isOk = status >= 200 && status < 300;
  return { ...attempt, outcome: isOk ? 'acked' : 'refused', status, answer: parseObject(text) ?? text };
}
