import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { apiError } from './api-errors.ts';
import { objectOf, ok, textField } from './reply.ts';
import type { ApiRequest, ApiRoute, Reply } from './reply.ts';
import { findAppByKey } from './simulation.ts';
import type { Simulation, Ticket } from './simulation.ts';

/** POST connections/open: credentials and subscriptions in, endpoint and one-time ticket out (reference section 2.1). */
export function createGatewayRoutes(simulation: Simulation): Record<string, ApiRoute> {
  return { 'POST /v1.0/gateway/connections/open': (request) => openConnection(simulation, request) };
}

function openConnection(s: Simulation, request: ApiRequest): Reply {
  const app = findAppByKey(s.world, textField(request.body, 'clientId'));
  if (app?.appSecret !== textField(request.body, 'clientSecret')) return apiError('authFailed');
  const subscriptions = Array.isArray(request.body.subscriptions) ? request.body.subscriptions.map(objectOf) : [];
  const topics = subscriptions.map((row) => `${textField(row, 'type')} ${textField(row, 'topic')}`);
  const ticket = s.tickets.issue({ appKey: app.appKey, topics }, s.scaled(s.faults.ticketTtlMs));
  const answer = { endpoint: `${s.publicUrl.replace(/^http/, 'ws')}/connect`, ticket };
  if ((request.header('accept') ?? '').includes('application/json')) return ok(answer);
  // Without this header the platform answers XML (comment in the official Node SDK).
  const xml = `<result><endpoint>${answer.endpoint}</endpoint><ticket>${answer.ticket}</ticket></result>`;
  return { ...ok(xml), contentType: 'application/xml', outcome: 'ok (xml)' };
}

/** The ticket of an upgrade request, used up by this look, or why the connection is refused. */
export function useTicket(simulation: Simulation, request: IncomingMessage): Ticket | { refused: string } {
  const url = new URL(request.url ?? '/', 'http://simulator');
  if (url.pathname !== '/connect') return { refused: 'not the Stream path' };
  const given = url.searchParams.get('ticket') ?? '';
  const ticket = simulation.tickets.find(given);
  if (ticket === undefined) return { refused: 'unknown or used ticket' };
  simulation.tickets.remove(given);
  return ticket.isExpired ? { refused: 'expired ticket' } : ticket.value;
}

/** Ends an upgrade that is not accepted. The status is not documented; clients see a failed handshake either way. */
export function refuseUpgrade(socket: Duplex, reason: string): void {
  socket.end(`HTTP/1.1 400 Bad Request\r\nContent-Length: ${reason.length}\r\nConnection: close\r\n\r\n${reason}`);
}
