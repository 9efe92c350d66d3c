import { ZodError, prettifyError } from 'zod';
import { ControlError } from './control-errors.ts';
import type { SimulatorControl } from './control.ts';
import type { ApiRequest } from './reply.ts';

export type ControlReply = { status: number; body: unknown };

/**
 * The control API over HTTP: the verbs of the in-process control, JSON in and out. A body or query the verb refuses
 * is a 400 whose `error` says why.
 */
export async function answerControl(control: SimulatorControl, request: ApiRequest): Promise<ControlReply> {
  try {
    const answer = await runVerb(control, request);
    if (answer === undefined) return { status: 404, body: { error: `no control ${request.method} ${request.path}` } };
    return { status: 200, body: answer.body };
  } catch (error) {
    if (error instanceof ZodError) return { status: 400, body: { error: prettifyError(error) } };
    if (error instanceof ControlError) return { status: 400, body: { error: error.message } };
    throw error;
  }
}

async function runVerb(control: SimulatorControl, request: ApiRequest): Promise<{ body: unknown } | undefined> {
  if (request.bytes > 0 && !request.isJson) throw new ControlError('the body is not a JSON object');
  // Every verb parses its own request; the texts and objects that come over the wire go in as they are.
  const body = request.body as never;
  const query = Object.fromEntries(request.query) as never;
  switch (`${request.method} ${request.path.slice('/control/'.length)}`) {
    case 'GET calls':
      return { body: { calls: await control.calls(query) } };
    case 'GET messages':
      return { body: { messages: await control.messages(query) } };
    case 'GET sent':
      return { body: { sent: await control.sent(query) } };
    case 'GET cards':
      return { body: { cards: control.cards(query) } };
    case 'GET card-versions':
      return { body: { versions: await control.cardVersions(query) } };
    case 'GET effects':
      return { body: { effects: await control.effects(query) } };
    case 'POST say':
      return { body: await control.say(body) };
    case 'POST click':
      return { body: await control.click(body) };
    case 'POST event':
      return { body: await control.event(body) };
    case 'GET faults':
      return { body: control.faults() };
    case 'PUT faults':
      return { body: control.setFaults(body) };
    case 'GET world':
      return { body: control.world() };
    case 'PUT world':
      return { body: control.setWorld(body) };
    case 'POST reset':
      control.reset();
      return { body: {} };
    case 'GET connections':
      return { body: { connections: control.connections() } };
    case 'POST disconnect':
      return { body: control.disconnect(body) };
    case 'POST revoke':
      return { body: control.revoke(body) };
    default:
      return undefined;
  }
}
