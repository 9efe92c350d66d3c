import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

/** `make say TEXT="/help"`: somebody says something to the running demo; prints what the robot answers. */
const cardSchema = z.object({
  simulatorUrl: z.url(),
  robots: z.array(z.object({ name: z.string(), code: z.string() })),
  rooms: z.array(z.object({ name: z.string(), id: z.string(), robot: z.string() })),
  people: z.array(z.object({ staffId: z.string(), name: z.string() })),
});
const linesSchema = z.object({ messages: z.array(z.object({ n: z.number(), text: z.string() })) });

const { TEXT: text, ROOM: place, AS: speaker } = process.env;
const folder = path.resolve(process.env.STEWARD_DATA_DIR ?? path.join(import.meta.dirname, '../../../data'));
try {
  if (!text) throw new Error('say what? make say TEXT="/help" [ROOM=ops-room] [AS=demo-li]');
  const card = cardSchema.parse(JSON.parse(readFileSync(path.join(folder, 'demo.json'), 'utf8')));
  const room = place ? card.rooms.find(({ name, id }) => [name, id].includes(place)) : card.rooms[0];
  const person = speaker ? card.people.find(({ staffId, name }) => [name, staffId].includes(speaker)) : card.people[0];
  if (room === undefined) throw new Error(`no such room; there are ${card.rooms.map(({ name }) => name).join(', ')}`);
  if (person === undefined)
    throw new Error(`nobody of that name; there are ${card.people.map(({ staffId }) => staffId).join(', ')}`);
  const before = await call(card.simulatorUrl, 'GET', '/control/messages', undefined);
  const since = linesSchema.parse(before).messages.at(-1)?.n ?? 0;
  await call(card.simulatorUrl, 'POST', '/control/say', {
    robot: room.robot,
    room: room.id,
    staffId: person.staffId,
    text,
  });
  const query = `since=${since}&conversationId=${encodeURIComponent(room.id)}&from=robot&wait=30000`;
  const { messages: answers } = linesSchema.parse(
    await call(card.simulatorUrl, 'GET', `/control/messages?${query}`, undefined),
  );
  if (answers.length === 0) throw new Error('no answer within 30 s; is the demo running? (make demo)');
  for (const answer of answers) process.stdout.write(`${answer.text}\n`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? explain(error) : String(error)}\n`);
  process.exitCode = 1;
}

async function call(url: string, method: string, resource: string, body: unknown): Promise<unknown> {
  const response = await fetch(`${url}${resource}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(40_000),
  });
  const answer: unknown = await response.json();
  if (!response.ok) throw new Error(`the simulator refused: ${JSON.stringify(answer)}`);
  return answer;
}

function explain(error: Error): string {
  if ('code' in error && error.code === 'ENOENT') return 'no data/demo.json: start the demo first (make demo)';
  return error.message === 'fetch failed' ? 'the demo does not answer: start it first (make demo)' : error.message;
}
