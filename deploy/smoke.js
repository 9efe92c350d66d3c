import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath, URLSearchParams } from 'node:url';
import { promisify } from 'node:util';

/*
 * Smoke test of the running demo stack: a person in the simulator says /ping and then runs a tool that reads. Each goes as
 * a signed callback through the reverse proxy; the answer must come back in the simulator, every service must have left its
 * audit entry, and the sealer must have sealed them.
 * One line for each check; exits 1 at the first that fails. Plain JavaScript without packages, so that it runs on the
 * Node of the machine, from 20.12 on, with nothing installed.
 */
const root = fileURLToPath(new URL('..', import.meta.url));
const answerLimitMs = 20_000;
const auditLimitMs = 15_000;
const requestLimitMs = 10_000;
/** What every answered command must have left behind, in any order, and what a tool that was read with left besides. */
const traceOf = (outcome) => [
  'adapter inbound.recorded accepted',
  `agent-core turn.ended ${outcome}`,
  'outbound-sender outbound.recorded queued',
  'outbound-sender outbound.ended accepted',
  'agent-core outbound.settled accepted',
];
const readTrace = ['agent-core call.judged allow', 'agent-core attempt.opened opened', 'agent-core call.ended done'];
const ofMessage = `from audit.entry e where correlation_id =
  (select correlation_id from adapter.inbound_event where kind = 'robot_message' and source_id = :'msg_id')`;

try {
  await smoke(loadCard());
} catch (error) {
  console.log(`FAIL ${error.message}`);
  process.exitCode = 1;
}

async function smoke(card) {
  const room = card.rooms[0];
  const robot = card.robots.find(({ name }) => name === room?.robot);
  if (robot === undefined) throw new Error('data/demo.json names no room with a robot');

  await check('the proxy keeps everything but /dingtalk/* to itself', async () => {
    for (const hidden of ['/', '/metrics', '/readyz']) {
      expectEqual(`GET ${hidden}`, await statusOf(card.adapterUrl + hidden), 404);
    }
  });
  await check('the adapter behind it refuses an unsigned message', async () => {
    expectEqual('status', await statusOf(card.adapterUrl + robot.callbackPath, { method: 'POST', body: '{}' }), 401);
  });

  const place = { card, room, robot };
  const pinged = await check('a signed /ping is accepted through the proxy', () => say(place, '/ping'));
  await check('the answer arrives in the room', () => expectAnswer(place, pinged, (text) => text.startsWith('pong')));
  await check('every service left its audit entry', () => expectTrace(pinged, traceOf('command.ping')));
  const ran = await check('a tool that only reads is accepted', () => say(place, '/run list_rooms'));
  await check('its result arrives in the room', () => expectAnswer(place, ran, (text) => text.includes(room.name)));
  await check('policy and call left their audit entries', () =>
    expectTrace(ran, [...traceOf('command.run'), ...readTrace]),
  );
  await check('the audit log is sealed', () => expectSealed(ran));
  console.log('ok   smoke: a message and a tool call all the way and back');
}

/** Says something as the first person of the demo. Gives back what finds its answer and its trace. */
async function say({ card, room, robot }, text) {
  const since = (await readMessages(card, { since: 0 })).at(-1)?.n ?? 0;
  const staffId = card.people[0]?.staffId;
  const said = await control(card, 'say', { robot: robot.name, room: room.id, staffId, text, via: 'http' });
  const accepted = [{ via: 'http', outcome: 'acked', status: 200 }];
  expectEqual('delivery', JSON.stringify(said.delivered), JSON.stringify(accepted));
  return { msgId: said.msgId, since };
}

async function expectAnswer({ card, room }, { since }, isRight) {
  const [answer] = await readMessages(card, { since, conversationId: room.id, from: 'robot', wait: answerLimitMs });
  if (answer === undefined) throw new Error(`no answer within ${answerLimitMs} ms`);
  if (!isRight(answer.text)) throw new Error(`the answer reads "${answer.text}"`);
}

/** Waits until the audit log shows the whole way of one message; its last entries are written after the answer is sent. */
async function expectTrace({ msgId }, expected) {
  const query = `select service || ' ' || kind || ' ' || outcome ${ofMessage}`;
  await eventually(async () => {
    const trace = await ask(query, msgId);
    const missing = expected.filter((entry) => !trace.includes(entry));
    return missing.length === 0 ? null : `missing in the audit log: ${missing.join(' · ')}`;
  });
}

async function expectSealed({ msgId }) {
  const isSealed = `exists (select from audit.block b where b.epoch = e.epoch
    and b.from_transaction <= e.transaction_id and b.to_transaction > e.transaction_id)`;
  await eventually(async () => {
    const [open] = await ask(`select count(*) ${ofMessage} and not ${isSealed}`, msgId);
    return open === '0' ? null : `${open} entries are in no block yet; is audit-sealer healthy?`;
  });
}

async function eventually(findFault) {
  const giveUpAt = Date.now() + auditLimitMs;
  for (;;) {
    const fault = await findFault();
    if (fault === null) return;
    if (Date.now() > giveUpAt) throw new Error(fault);
    await wait(300);
  }
}

async function ask(query, msgId) {
  const psql = ['psql', '-U', 'postgres', '-d', 'steward', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-v', `msg_id=${msgId}`];
  const options = { cwd: root, timeout: 30_000 };
  const running = promisify(execFile)('docker', ['compose', 'exec', '-T', 'postgres', ...psql], options);
  running.child.stdin.end(query);
  const { stdout } = await running;
  return stdout.trimEnd().split('\n');
}

function loadCard() {
  const settings = path.join(root, '.env');
  if (existsSync(settings)) process.loadEnvFile(settings);
  const file = path.resolve(root, process.env.STEWARD_DATA_DIR || 'data', 'demo.json');
  if (!existsSync(file)) throw new Error(`${file} is missing: this needs the demo profile (COMPOSE_PROFILES=demo)`);
  const card = JSON.parse(readFileSync(file, 'utf8'));
  if (card.mode !== 'compose') throw new Error(`${file} was written by another demo: start the stack (make up)`);
  return card;
}

async function check(what, run) {
  try {
    const result = await run();
    console.log(`ok   ${what}`);
    return result;
  } catch (error) {
    throw new Error(`${what}: ${error.message}`, { cause: error });
  }
}

function expectEqual(what, seen, expected) {
  if (seen !== expected) throw new Error(`${what} is ${seen}, not ${expected}`);
}

async function statusOf(url, init = {}) {
  const answer = await fetch(url, { ...init, signal: globalThis.AbortSignal.timeout(requestLimitMs) });
  await answer.body?.cancel();
  return answer.status;
}

async function readMessages(card, query) {
  const { messages } = await control(card, `messages?${new URLSearchParams(query)}`);
  return messages;
}

async function control(card, verb, body) {
  const json = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const answer = await fetch(`${card.simulatorUrl}/control/${verb}`, {
    ...(body === undefined ? {} : json),
    signal: globalThis.AbortSignal.timeout(answerLimitMs + requestLimitMs),
  });
  if (!answer.ok) throw new Error(`simulator ${verb}: ${answer.status} ${(await answer.text()).slice(0, 300)}`);
  return answer.json();
}
