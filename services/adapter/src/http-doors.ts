import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler } from 'express';
import { rateLimit } from 'express-rate-limit';
import { correlationIdOf, withinLimit, type Logger } from '@steward/service-kit';
import {
  decryptEvent,
  encryptEvent,
  parsePlatformEvent,
  readEventQuery,
  verifyCardSignature,
  verifyRobotSignature,
  type EventKeys,
} from '@steward/dingtalk';
import { randomBytes } from 'node:crypto';
import type { DoorName, RejectionCounter } from './count-rejections.ts';
import { refuse, toRefusal } from './door-refusal.ts';
import { receiveCardClick } from './receive-card-click.ts';
import { receivePlatformEvent } from './receive-platform-event.ts';
import { receiveRobotMessage, type Door, type ReceiveContext } from './receive-robot-message.ts';
import type { Robot } from './robots.ts';

export type HttpDoorContext = ReceiveContext & {
  robots: readonly Robot[];
  rejections: RejectionCounter;
  log: Logger;
  isOverloaded: () => boolean;
  requestsPerMinute: number;
};

/** Far above any documented payload; a larger body is not from the platform. */
const maxBodyBytes = 256 * 1024;
/** The platform gives up after 2.5 s (HTTP push): answering later helps nobody, and it will deliver again. */
const answerWithinMs = 2_000;

/**
 * The doors that the platform calls. Each one proves the caller before it reads the body, and answers 200 only when the
 * event is committed. A robot message is answered `empty`: the reply goes its own way.
 */
export function addHttpDoors(app: Express, context: HttpDoorContext): void {
  const robots = new Map(context.robots.map((robot) => [robot.name, robot]));
  const door = (
    name: DoorName,
    check: (robot: Robot, request: Request) => void,
    receive: (robot: Robot, request: Request, door: Door) => Promise<unknown>,
  ): RequestHandler[] => [
    (request, response, next) => {
      response.locals.door = name;
      if (context.isOverloaded()) throw refuse('OVERLOADED');
      const robot = robots.get(String(request.params.robot));
      if (robot === undefined) throw refuse('UNKNOWN_ROBOT');
      check(robot, request);
      response.locals.robot = robot;
      next();
    },
    express.raw({ type: () => true, limit: maxBodyBytes, inflate: false }),
    async (request, response) => {
      const door: Door = { door: 'http', transportId: null, correlationId: correlationIdOf(response) };
      response.json(await withinLimit(receive(response.locals.robot as Robot, request, door), answerWithinMs, name));
    },
  ];

  // The proxy in front stands in a private network; its word on the client's address is taken, nobody else's.
  app.set('trust proxy', 'loopback, linklocal, uniquelocal');
  app.use('/dingtalk', limitAddresses(context));
  app.post(
    '/dingtalk/robot/:robot',
    door(
      'robot',
      (robot, request) => checkRobotCall(context, robot, request),
      async (robot, request, door) => {
        await receiveRobotMessage(context, robot, parseJson(request), door);
        return { msgtype: 'empty' };
      },
    ),
  );
  app.post(
    '/dingtalk/cards/:robot',
    door(
      'card',
      (robot, request) => checkCardCall(context, robot, request),
      (robot, request, door) => receiveCardClick(context, robot, parseJson(request), door),
    ),
  );
  app.post(
    '/dingtalk/events/:robot',
    door(
      'platform_event',
      (robot) => void eventKeysOf(robot),
      (robot, request, door) => receiveEncryptedEvent(context, robot, request, door),
    ),
  );
  app.use('/dingtalk', answerRefusals(context));
}

function checkRobotCall(context: HttpDoorContext, robot: Robot, request: Request): void {
  if (!robot.doors.includes('http')) throw refuse('DOOR_CLOSED');
  const verdict = verifyRobotSignature({
    timestamp: request.get('timestamp'),
    sign: request.get('sign'),
    appSecret: robot.appSecret,
    nowMs: context.now().getTime(),
  });
  if (!verdict.ok) throw refuseSignature(verdict.reason);
}

function checkCardCall(context: HttpDoorContext, robot: Robot, request: Request): void {
  if (robot.cardSecret === null) throw refuse('DOOR_CLOSED');
  const verdict = verifyCardSignature({
    timestamp: request.get('x-ddpaas-signature-timestamp'),
    sign: request.get('x-ddpaas-signature'),
    apiSecret: robot.cardSecret,
    nowMs: context.now().getTime(),
  });
  if (!verdict.ok) throw refuseSignature(verdict.reason);
}

function refuseSignature(reason: 'missing' | 'stale' | 'mismatch') {
  const refusals = { missing: 'SIGNATURE_MISSING', stale: 'SIGNATURE_STALE', mismatch: 'SIGNATURE_MISMATCH' } as const;
  return refuse(refusals[reason]);
}

/** An encrypted push proves itself by its signature over the body; the answer is the word `success`, encrypted too. */
async function receiveEncryptedEvent(
  context: HttpDoorContext,
  robot: Robot,
  request: Request,
  door: Door,
): Promise<unknown> {
  const keys = eventKeysOf(robot);
  const query = readEventQuery(request.query);
  const body = parseJson(request);
  if (query === null || !isEncrypted(body)) throw refuse('SIGNATURE_MISSING');
  const view = parsePlatformEvent(decrypt(keys, { ...query, encrypt: body.encrypt }));
  if (view === null) throw refuse('BODY_MALFORMED');
  // Saving the address in the console sends `check_url`: it only wants to be answered.
  if (view.eventType !== 'check_url') await receivePlatformEvent(context, robot, view, door);
  return encryptEvent(keys, {
    text: 'success',
    timestamp: String(context.now().getTime()),
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

/** A brake for each calling address, far above what the platform sends; per-room fairness is agent-core's. */
function limitAddresses(context: HttpDoorContext): RequestHandler {
  return rateLimit({
    windowMs: 60_000,
    limit: context.requestsPerMinute,
    standardHeaders: false,
    legacyHeaders: false,
    handler: (_request, _response, next) => next(refuse('TOO_MANY_REQUESTS')),
  });
}

/** Every refusal is counted and answered with a code and what to do, and with nothing of what was sent. */
function answerRefusals({ rejections, log }: HttpDoorContext): ErrorRequestHandler {
  return (error, _request, response, next) => {
    if (response.headersSent) {
      next(error);
      return;
    }
    const { status, reason, text } = toRefusal(error);
    const door = (response.locals.door as DoorName | undefined) ?? 'robot';
    rejections.count(door, reason);
    log.debug('door.rejected', { door, reason, error });
    if (status === 503 || status === 429) response.set('Retry-After', status === 503 ? '1' : '60');
    // The rest of a refused body is not read: the connection goes with it.
    if (status === 413) response.set('Connection', 'close');
    response.status(status).json({ code: reason, text });
  };
}
