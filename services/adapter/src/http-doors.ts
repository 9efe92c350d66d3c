import express, {
  type ErrorRequestHandler,
  type Express,
  type Request,
  type RequestHandler,
  type Response,
} from 'express';
import { correlationIdOf, withinLimit, type Logger } from '@steward/service-kit';
import {
  decryptEvent,
  encryptEvent,
  parsePlatformEvent,
  readEventQuery,
  signatureToleranceMs,
  verifyCardSignature,
  verifyRobotSignature,
  type EventKeys,
} from '@steward/dingtalk';
import { randomBytes } from 'node:crypto';
import type { DoorName, RejectionCounter } from './count-rejections.ts';
import { refuse, toRefusal } from './door-refusal.ts';
import { createMinuteLimit, type MinuteLimit } from './minute-limit.ts';
import { receiveCardClick } from './receive-card-click.ts';
import { receivePlatformEvent } from './receive-platform-event.ts';
import { receiveRobotMessage, type Door, type ReceiveContext } from './receive-robot-message.ts';
import type { Robot } from './robots.ts';
import type { SignatureWatch } from './watch-signatures.ts';

export type HttpDoorContext = ReceiveContext & {
  robots: readonly Robot[];
  rejections: RejectionCounter;
  signatures: SignatureWatch;
  log: Logger;
  isOverloaded: () => boolean;
  /** Proved requests for one robot in a minute. */
  requestsPerMinute: number;
};

type Doors = HttpDoorContext & {
  /** Proved requests, by robot. */
  proved: MinuteLimit;
  /** Refused requests, by address: the brake holds only what is refused, for junk must not lock the platform out. */
  refused: MinuteLimit;
  /** Requests at the event door whose body is being read or answered. */
  eventsInHand: number;
  /** What the bodies of all requests in hand may come to. */
  bytesInHand: number;
};

/** Far above any documented payload; a larger body is not from the platform. */
const maxBodyBytes = 256 * 1024;
/** The event door reads before it can prove anything, so it reads less, and for so many at once. */
const maxEventBytes = 64 * 1024;
const maxEventsInHand = 64;
/** A burst is refused before it is memory: some thousand messages of a usual size. */
export const maxBytesInHand = 32 * 1024 * 1024;
/** Far above what a misconfigured robot causes. */
const maxRefusalsPerMinute = 600;
/** The platform gives up after 2.5 s (HTTP push): answering later helps nobody, and it will deliver again. */
const answerWithinMs = 2_000;

/**
 * The doors that the platform calls. Each one proves the caller before it reads the body (an encrypted push is proved by
 * its body), and answers 200 only when the event is committed. A robot message is answered `empty`: the reply goes its own
 * way.
 */
export function addHttpDoors(app: Express, context: HttpDoorContext): void {
  const { now, requestsPerMinute } = context;
  const doors: Doors = {
    ...context,
    proved: createMinuteLimit({ limit: requestsPerMinute, now }),
    refused: createMinuteLimit({ limit: maxRefusalsPerMinute, now }),
    eventsInHand: 0,
    bytesInHand: 0,
  };
  const robots = new Map(context.robots.map((robot) => [robot.name, robot]));
  const door = (
    name: DoorName,
    check: (robot: Robot, request: Request, response: Response) => void,
    receive: (robot: Robot, request: Request, door: Door) => Promise<unknown>,
    limit = maxBodyBytes,
  ): RequestHandler[] => [
    (request, response, next) => {
      response.locals.door = name;
      if (context.isOverloaded()) throw refuse('OVERLOADED');
      const robot = robots.get(String(request.params.robot));
      if (robot === undefined) throw refuse('UNKNOWN_ROBOT');
      check(robot, request, response);
      reserveBytes(doors, request, response, limit);
      response.locals.robot = robot;
      next();
    },
    express.raw({ type: () => true, limit, inflate: false }),
    async (request, response) => {
      const door: Door = { door: 'http', transportId: null, correlationId: correlationIdOf(response) };
      response.json(await withinLimit(receive(response.locals.robot as Robot, request, door), answerWithinMs, name));
    },
  ];

  // The proxy in front stands in a private network; its word on the client's address is taken, nobody else's.
  app.set('trust proxy', 'loopback, linklocal, uniquelocal');
  app.post(
    '/dingtalk/robot/:robot',
    door(
      'robot',
      (robot, request) => checkRobotCall(doors, robot, request),
      async (robot, request, door) => {
        const { msgId, createdAt } = await receiveRobotMessage(context, robot, parseJson(request), door);
        const [timestamp = '', sign = ''] = [request.get('timestamp'), request.get('sign')];
        doors.signatures.note({ robot: robot.name, timestamp, sign, msgId, createdAt });
        return { msgtype: 'empty' };
      },
    ),
  );
  app.post(
    '/dingtalk/cards/:robot',
    door(
      'card',
      (robot, request) => checkCardCall(doors, robot, request),
      (robot, request, door) => receiveCardClick(context, robot, parseJson(request), door),
    ),
  );
  app.post(
    '/dingtalk/events/:robot',
    door(
      'platform_event',
      (robot, request, response) => checkEventCall(doors, robot, request, response),
      (robot, request, door) => receiveEncryptedEvent(doors, robot, request, door),
      maxEventBytes,
    ),
  );
  app.use('/dingtalk', answerRefusals(doors));
}

function checkRobotCall(doors: Doors, robot: Robot, request: Request): void {
  if (!robot.doors.includes('http')) throw refuse('DOOR_CLOSED');
  const verdict = verifyRobotSignature({
    timestamp: request.get('timestamp'),
    sign: request.get('sign'),
    appSecret: robot.appSecret,
    nowMs: doors.now().getTime(),
  });
  if (!verdict.ok) throw refuseSignature(verdict.reason);
  countProved(doors, robot);
}

function checkCardCall(doors: Doors, robot: Robot, request: Request): void {
  if (robot.cardSecret === null) throw refuse('DOOR_CLOSED');
  const verdict = verifyCardSignature({
    timestamp: request.get('x-ddpaas-signature-timestamp'),
    sign: request.get('x-ddpaas-signature'),
    apiSecret: robot.cardSecret,
    nowMs: doors.now().getTime(),
  });
  if (!verdict.ok) throw refuseSignature(verdict.reason);
  countProved(doors, robot);
}

function refuseSignature(reason: 'missing' | 'stale' | 'mismatch') {
  const refusals = { missing: 'SIGNATURE_MISSING', stale: 'SIGNATURE_STALE', mismatch: 'SIGNATURE_MISMATCH' } as const;
  return refuse(refusals[reason]);
}

/** A brake far above what the platform sends to one robot; per-room fairness is agent-core's. */
function countProved({ proved }: Doors, robot: Robot): void {
  if (proved.add(robot.name)) throw refuse('TOO_MANY_REQUESTS');
}

/** Whatever can be said against an encrypted push before its body is read. */
function checkEventCall(doors: Doors, robot: Robot, request: Request, response: Response): void {
  eventKeysOf(robot);
  const query = readEventQuery(request.query);
  if (query === null) throw refuse('SIGNATURE_MISSING');
  const differenceMs = Math.abs(toMs(query.timestamp) - doors.now().getTime());
  if (!(differenceMs <= signatureToleranceMs)) throw refuse('SIGNATURE_STALE');
  if (doors.refused.isOver(addressOf(request))) throw refuse('TOO_MANY_REQUESTS');
  if (doors.eventsInHand >= maxEventsInHand) throw refuse('OVERLOADED');
  doors.eventsInHand += 1;
  response.once('close', () => (doors.eventsInHand -= 1));
}

/**
 * Makes room for a body before it is read: as much as it announces, or as may come of one that announces nothing. Of one that
 * announces too much nothing is read: the parser would wait for its end to say so.
 */
function reserveBytes(doors: Doors, request: Request, response: Response, limit: number): void {
  const announced = Number(request.get('content-length') ?? limit);
  if (announced > limit) throw refuse('BODY_TOO_LARGE');
  const bytes = announced >= 0 ? announced : limit;
  if (doors.bytesInHand + bytes > maxBytesInHand) throw refuse('OVERLOADED');
  doors.bytesInHand += bytes;
  response.once('close', () => (doors.bytesInHand -= bytes));
}

/** Official samples have seconds and milliseconds; as milliseconds, ten digits would be in 1970. */
function toMs(timestamp: string): number {
  if (!/^\d{1,15}$/.test(timestamp)) return NaN;
  return timestamp.length <= 10 ? Number(timestamp) * 1_000 : Number(timestamp);
}

/** An encrypted push proves itself by its signature over the body; the answer is the word `success`, encrypted too. */
async function receiveEncryptedEvent(doors: Doors, robot: Robot, request: Request, door: Door): Promise<unknown> {
  const keys = eventKeysOf(robot);
  const query = readEventQuery(request.query);
  const body = parseJson(request);
  if (query === null || !isEncrypted(body)) throw refuse('SIGNATURE_MISSING');
  const view = parsePlatformEvent(decrypt(keys, { ...query, encrypt: body.encrypt }));
  countProved(doors, robot);
  if (view === null) throw refuse('BODY_MALFORMED');
  // Saving the address in the console sends `check_url`: it only wants to be answered.
  if (view.eventType !== 'check_url') await receivePlatformEvent(doors, robot, view, door);
  return encryptEvent(keys, {
    text: 'success',
    timestamp: String(doors.now().getTime()),
    nonce: query.nonce,
    random: randomBytes(16),
  });
}

function decrypt(keys: EventKeys, sealed: Parameters<typeof decryptEvent>[1]): string {
  try {
    return decryptEvent(keys, sealed);
  } catch (cause) {
    throw refuse('SIGNATURE_MISMATCH', cause);
  }
}

function eventKeysOf(robot: Robot): EventKeys {
  if (robot.events === null) throw refuse('DOOR_CLOSED');
  return robot.events;
}

const isEncrypted = (body: unknown): body is { encrypt: string } =>
  typeof body === 'object' && body !== null && 'encrypt' in body && typeof body.encrypt === 'string';

function parseJson(request: Request): unknown {
  try {
    // An absent body leaves something else than bytes here; both are malformed.
    return JSON.parse((request.body as Buffer).toString('utf8'));
  } catch {
    // The parser's own error quotes the body, and a refusal echoes nothing, not even into the log.
    throw refuse('BODY_MALFORMED');
  }
}

const addressOf = (request: Request): string => request.ip ?? 'unknown';

/**
 * Every refusal is counted and answered with a code and what to do, and with nothing of what was sent. An address that was
 * refused too often is told to wait instead.
 */
function answerRefusals({ rejections, refused, log }: Doors): ErrorRequestHandler {
  return (error, request, response, next) => {
    if (response.headersSent) {
      next(error);
      return;
    }
    const cause = toRefusal(error);
    const isTooOften = cause.status < 500 && refused.add(addressOf(request));
    const { status, reason, text } = isTooOften ? toRefusal(refuse('TOO_MANY_REQUESTS')) : cause;
    const door = (response.locals.door as DoorName | undefined) ?? 'robot';
    rejections.count(door, reason);
    log.debug('door.rejected', { door, reason, error });
    if (status === 503 || status === 429) response.set('Retry-After', status === 503 ? '1' : '60');
    // The rest of a refused body is not read: the connection goes with it.
    if (status === 413) response.set('Connection', 'close');
    response.status(status).json({ code: reason, text });
  };
}
