import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { recordCall } from './api-surface.ts';
import type { ApiSurface } from './api-surface.ts';
import { gatewayPage } from './api-errors.ts';
import type { SimulatorControl } from './control.ts';
import { answerControl } from './control-routes.ts';
import { parseObject } from './reply.ts';
import type { CallRecord } from './records.ts';
import type { ApiRequest } from './reply.ts';
import { takeScripted } from './simulation.ts';
import type { Simulation } from './simulation.ts';
import { answerSystems } from './systems-api.ts';
import type { SystemsReply } from './systems-api.ts';

const MAX_BODY_BYTES = 4 * 1024 * 1024;
/** A lost answer of mode `hang` ends after this long, if the caller has not given up before. */
const HANG_MS = 120_000;
type Parts = { simulation: Simulation; surface: ApiSurface; control: SimulatorControl };

/** The HTTP door: /healthz, /control/…, /systems/…, and everything else as DingTalk. */
export function createHttpServer(parts: Parts): Server {
  const server = createServer((incoming, response) => {
    serve(parts, incoming, response).catch((error: unknown) => {
      parts.simulation.log.warn('serve.failed', { error: error instanceof Error ? error.message : 'unknown' });
      response.destroy();
    });
  });
  // Callers in tests keep connections; a short idle limit of the server would race with their next call.
  server.keepAliveTimeout = 65_000;
  return server;
}

async function serve(parts: Parts, incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const request = await readRequest(incoming);
  if (request === undefined) {
    write(response, 413, { error: `the body is larger than ${MAX_BODY_BYTES} bytes` });
  } else if (request.path === '/healthz') {
    write(response, 200, { status: 'ok' });
  } else if (request.path.startsWith('/control/')) {
    const { status, body } = await answerControl(parts.control, request);
    write(response, status, body);
  } else {
    const { simulation: s, surface } = parts;
    const isSystems = request.path.startsWith('/systems/');
    await serveApi(s, request, response, () => (isSystems ? recordSystems(s, request) : surface.answer(request)));
  }
}

function recordSystems(s: Simulation, request: ApiRequest): { reply: SystemsReply; call: CallRecord } {
  const reply = answerSystems(s, request);
  return { reply, call: recordCall(s, request, reply) };
}

async function serveApi(
  s: Simulation,
  request: ApiRequest,
  response: ServerResponse,
  answer: () => { reply: SystemsReply; call: CallRecord },
): Promise<void> {
  await pause(s, s.faults.latencyMs, request.path);
  const { reply, call } = answer();
  const lost = takeScripted(s.faults.loseResponses, request.path)?.mode;
  if (lost !== undefined) {
    call.outcome += ' (response lost)';
    await loseResponse(s, lost, response);
    return;
  }
  await pause(s, s.faults.replyDelayMs, request.path);
  writeReply(response, reply);
}

async function pause(s: Simulation, delays: Record<string, number>, path: string): Promise<void> {
  const ms = delays[path] ?? delays['*'] ?? 0;
  if (ms > 0) await s.timers.wait(ms);
}

/** What was asked for is done and on record; the caller does not learn it. */
async function loseResponse(s: Simulation, mode: '504' | 'reset' | 'hang', response: ServerResponse): Promise<void> {
  if (mode === '504') {
    writeReply(response, gatewayPage(504));
    return;
  }
  if (mode === 'hang') await s.timers.wait(HANG_MS);
  response.socket?.resetAndDestroy();
}

async function readRequest(incoming: IncomingMessage): Promise<ApiRequest | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  const url = new URL(incoming.url ?? '/', 'http://simulator');
  const parsed = parseObject(Buffer.concat(chunks).toString());
  return {
    method: incoming.method ?? 'GET',
    path: url.pathname,
    query: url.searchParams,
    header: (name) => {
      const value = incoming.headers[name];
      return Array.isArray(value) ? value[0] : value;
    },
    bytes,
    body: parsed ?? {},
    isJson: parsed !== undefined,
    remoteIp: (incoming.socket.remoteAddress ?? '').replace(/^::ffff:/, ''),
  };
}

function writeReply(response: ServerResponse, { status, body, contentType, headers }: SystemsReply): void {
  if (contentType === undefined) return write(response, status, body);
  response.writeHead(status, { 'content-type': contentType, ...headers }).end(String(body));
}

function write(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}
