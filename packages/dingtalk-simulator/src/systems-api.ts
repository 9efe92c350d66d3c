import type { EffectRecord } from './records.ts';
import { ok } from './reply.ts';
import type { ApiRequest, Reply } from './reply.ts';
import { takeScripted } from './simulation.ts';
import type { Simulation } from './simulation.ts';
import type { Service } from './systems-state.ts';

const KEPT_ANSWERS = 100_000;
const MAX_REPLICAS = 100;

export type SystemsReply = Reply & { headers?: Record<string, string> };

/**
 * `/systems`: a small company system that tools read and change. It is no part of DingTalk: it stands here so that a demo
 * needs no further program, and so that a test can count what was really done.
 */
export function answerSystems(s: Simulation, request: ApiRequest): SystemsReply {
  const { token } = s.world.systems ?? {};
  if (token !== undefined && request.header('authorization') !== `Bearer ${token}`) return refuse(401, 'no such token');
  const fault = takeScripted(s.faults.systemsFaults, request.path)?.mode;
  if (fault === '500') return refuse(500, 'out of order');
  if (fault === 'redirect') {
    const headers = { location: s.faults.systemsRedirectTo };
    return { status: 302, body: '', contentType: 'text/plain', outcome: 'redirect', headers };
  }
  const reply = answerOnce(s, request);
  if (fault !== 'huge') return reply;
  return { ...reply, body: { answer: reply.body, padding: 'x'.repeat(s.faults.systemsHugeBytes) } };
}

/** A change under a key that was used before is answered as the first time, and not made again. */
function answerOnce(s: Simulation, request: ApiRequest): Reply {
  const key = request.method === 'GET' ? undefined : request.header('idempotency-key');
  if (key === undefined || !s.faults.systemsIdempotency) return answerVerb(s, request);
  const identity = `${request.method} ${request.path} ${JSON.stringify(request.body)}`;
  const known = s.systems.answers.get(key);
  if (known) {
    if (known.request !== identity) return refuse(422, 'this key was used for another request');
    return { status: known.status, body: known.body, outcome: 'ok (repeated key)' };
  }
  const reply = answerVerb(s, request);
  s.systems.answers.set(key, { request: identity, status: reply.status, body: reply.body });
  const oldest = s.systems.answers.size > KEPT_ANSWERS ? s.systems.answers.keys().next().value : undefined;
  if (oldest !== undefined) s.systems.answers.delete(oldest);
  return reply;
}

function answerVerb(s: Simulation, request: ApiRequest): Reply {
  const [, , collection, name, verb, ...rest] = request.path.split('/').map(decode);
  if (rest.length > 0) return refuse(404, 'no such path');
  if (collection === 'oncall' && name === undefined && request.method === 'GET') return ok({ oncall: onCall(s) });
  if (collection !== 'services') return refuse(404, 'no such path');
  if (name === undefined)
    return request.method === 'GET' ? ok({ services: [...s.systems.services.values()] }) : refuse(405, 'GET only');
  const service = s.systems.services.get(name);
  if (service === undefined) return refuse(404, `no service ${name}`);
  switch (`${request.method} ${verb ?? ''}`) {
    case 'GET ':
      return ok(service);
    case 'POST restart':
      return change(s, request, service, 'restart');
    case 'POST scale':
      return change(s, request, service, 'scale');
    case 'DELETE ':
      return change(s, request, service, 'delete');
    default:
      return refuse(405, 'no such verb');
  }
}

function change(s: Simulation, request: ApiRequest, service: Service, verb: EffectRecord['verb']): Reply {
  const { replicas } = request.body;
  if (verb === 'scale') {
    if (typeof replicas !== 'number' || !Number.isInteger(replicas) || replicas < 0 || replicas > MAX_REPLICAS)
      return refuse(400, `replicas must be a whole number from 0 to ${MAX_REPLICAS}`);
    service.replicas = replicas;
  }
  if (verb === 'restart') {
    service.restarts += 1;
    service.state = 'running';
  }
  if (verb === 'delete') s.systems.services.delete(service.name);
  const idempotencyKey = request.header('idempotency-key') ?? null;
  s.effects.add({ at: s.now(), verb, service: service.name, idempotencyKey, body: request.body });
  return ok({ done: verb, service: { ...service } });
}

function onCall({ world }: Simulation): { staffId: string; name: string }[] {
  const ids = world.systems?.oncall ?? world.people.slice(0, 1).map(({ staffId }) => staffId);
  return ids.map((staffId) => ({
    staffId,
    name: world.people.find((one) => one.staffId === staffId)?.name ?? staffId,
  }));
}

const refuse = (status: number, error: string): Reply => ({ status, body: { error }, outcome: `${status} ${error}` });

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
