import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/**
 * Smoke test of the running demo stack, with nothing but Node and Docker: a person in the simulator says /ping, which
 * goes as a signed callback through the reverse proxy; the answer must come back in the simulator, and every service
 * must have left its audit entry. One line for each check; exits 1 at the first that fails.
 */
const root = fileURLToPath(new URL('..', import.meta.url));
const answerLimitMs = 20_000;
const auditLimitMs = 15_000;
/** What one answered command must have left behind, in any order. */
const expectedTrace = [
  'adapter inbound.recorded accepted',
  'agent-core turn.ended command.ping',
  'outbound-sender outbound.recorded queued',
  'outbound-sender outbound.ended accepted',
  'agent-core outbound.settled accepted',
];

type Card = {
  adapterUrl: string;
  simulatorUrl: string;
  robots: { name: string; callbackPath: string }[];
  rooms: { id: string; robot: string }[];
  people: { staffId: string }[];
};
type ChatLine = { n: number; text: string };

try {
  await smoke(loadCard());
} catch (error) {
  console.log(`FAIL ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}

async function smoke(card: Card): Promise<void> {
  const room = card.rooms[0];
  const robot = card.robots.find(({ name }) => name === room?.robot);
  if (room === undefined || robot === undefined) throw new Error('data/demo.json names no room with a robot');

  await check('the proxy keeps everything but /dingtalk/* to itself', async () => {
    for (const hidden of ['/', '/metrics', '/readyz'])
      expectEqual(`GET ${hidden}`, await statusOf(card.adapterUrl + hidden), 404);
  });
  await check('the adapter behind it refuses an unsigned message', async () => {
    expectEqual('status', await statusOf(card.adapterUrl + robot.callbackPath, { method: 'POST', body: '{}' }), 401);
  });

  const seen = await messages(card, 'since=0');
  const since = seen.at(-1)?.n ?? 0;
  const msgId = await check('a signed /ping is accepted through the proxy', async () => {
    const said = await control(card, 'say', {
      robot: robot.name,
      room: room.id,
      staffId: card.people[0]?.staffId,
      text: '/ping',
      via: 'http',
    });
    expectEqual(
      'delivery',
      JSON.stringify(said.delivered),
      JSON.stringify([{ via: 'http', outcome: 'acked', status: 200 }]),
    );
    return String(said.msgId);
  });
  await check('the answer arrives in the room', async () => {
    const query = new URLSearchParams({
      since: String(since),
      conversationId: room.id,
      from: 'robot',
      wait: String(answerLimitMs),
    });
    const [answer] = await messages(card, query.toString());
    if (answer === undefined) throw new Error(`no answer within ${answerLimitMs} ms`);
    if (!answer.text.startsWith('pong')) throw new Error(`the answer reads "${answer.text}"`);
  });
  await check('every service left its audit entry', () => expectTrace(msgId));
  console.log('ok   smoke: one message all the way and back');
}

/** Waits until the audit log shows the whole way of one message; the last entries are written after the answer is sent. */
async function expectTrace(msgId: string): Promise<void> {
  const giveUpAt = Date.now() + auditLimitMs;
  for (;;) {
    const trace = await readTrace(msgId);
    const missing = expectedTrace.filter((entry) => !trace.includes(entry));
    if (missing.length === 0) return;
    if (Date.now() > giveUpAt) throw new Error(`missing in the audit log: ${missing.join(' · ')}`);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

async function readTrace(msgId: string): Promise<string[]> {
  const query = `select service || ' ' || kind || ' ' || outcome from audit.entry where correlation_id =
    (select correlation_id from adapter.inbound_event where kind = 'robot_message' and source_id = :'msg_id')`;
  const psql = [
    'psql',
    '-U',
    'postgres',
    '-d',
    'steward',
    '-X',
    '-q',
    '-A',
    '-t',
    '-v',
    'ON_ERROR_STOP=1',
    '-v',
    `msg_id=${msgId}`,
  ];
  const running = promisify(execFile)('docker', ['compose', 'exec', '-T', 'postgres', ...psql], {
    cwd: root,
    timeout: 30_000,
  });
  running.child.stdin?.end(query);
  const { stdout } = await running;
  return stdout.split('\n').filter((line) => line !== '');
}

function loadCard(): Card {
  const settings = path.join(root, '.env');
  if (existsSync(settings)) process.loadEnvFile(settings);
  const file = path.resolve(root, process.env['STEWARD_DATA_DIR'] ?? 'data', 'demo.json');
  if (!existsSync(file))
    throw new Error(`${file} is missing: the smoke test needs the demo profile (COMPOSE_PROFILES=demo)`);
  const card = JSON.parse(readFileSync(file, 'utf8')) as Card & { mode: string };
  if (card.mode !== 'compose') throw new Error(`${file} was written by another demo: start the stack (make up)`);
  return card;
}

async function check<T>(what: string, run: () => Promise<T>): Promise<T> {
  try {
    const result = await run();
    console.log(`ok   ${what}`);
    return result;
  } catch (error) {
    throw new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function expectEqual(what: string, seen: unknown, expected: unknown): void {
  if (seen !== expected) throw new Error(`${what} is ${String(seen)}, not ${String(expected)}`);
}

async function statusOf(url: string, init: RequestInit = {}): Promise<number> {
  const answer = await fetch(url, { ...init, signal: AbortSignal.timeout(10_000) });
  await answer.body?.cancel();
  return answer.status;
}

async function messages(card: Card, query: string): Promise<ChatLine[]> {
  const { messages: lines } = (await control(card, `messages?${query}`)) as { messages: ChatLine[] };
  return lines;
}

async function control(card: Card, verb: string, body?: unknown): Promise<Record<string, unknown>> {
  const sent =
    body === undefined
      ? {}
      : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const answer = await fetch(`${card.simulatorUrl}/control/${verb}`, {
    ...sent,
    signal: AbortSignal.timeout(answerLimitMs + 10_000),
  });
  if (!answer.ok) throw new Error(`simulator ${verb}: ${answer.status} ${(await answer.text()).slice(0, 300)}`);
  return (await answer.json()) as Record<string, unknown>;
}
