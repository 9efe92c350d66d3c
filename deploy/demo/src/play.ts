import path from 'node:path';
import { explainTrace } from '@steward/audit';
import { connectOperatorSocket } from '@steward/postgres';
import type { Simulator } from '@steward/dingtalk-simulator';
import type { Demo } from './start-demo.ts';

/** Long enough for a slow machine; a scene that takes longer has failed, and says so. */
const answerWithinMs = 20_000;

/** One scene: who says what where, and how many answers come back. `{code}` is the code of the newest request. */
type Scene = {
  title?: string;
  robot: string;
  room?: string;
  staffId: string;
  text: string;
  through: string;
  answers?: number;
};

/**
 * Plays a short conversation through the real doors and prints it as it happens: small talk, a read, and a write that is asked
 * for, not approved by its requester, approved by somebody else and run. Returns how many answers never came.
 */
export async function play(demo: Demo, print: (line: string) => void): Promise<number> {
  const roomOf = (name: string) => demo.card.rooms.find((room) => room.name === name)?.id;
  const [li = '', han = '', wang = ''] = demo.card.people.map(({ staffId }) => staffId);
  const ops = { robot: 'ops', room: roomOf('ops-room'), through: 'signed HTTP callback' };
  const scenes: Scene[] = [
    { ...ops, staffId: li, text: '/ping' },
    { robot: 'stream', room: roomOf('stream-room'), staffId: wang, text: '／状态', through: 'Stream socket' },
    { ...ops, title: 'A read is answered at once', staffId: li, text: '/run service_status service=payments' },
    {
      ...ops,
      title: 'A write is asked for, here and in the approvals room',
      staffId: han,
      text: '/run restart_service service=payments',
      answers: 2,
    },
    { ...ops, title: 'Whoever asked cannot approve', staffId: han, text: '/approve {code}' },
    {
      ...ops,
      title: 'Somebody else can, in the approvals room: it runs once, and the room hears what came of it',
      room: roomOf('approvals'),
      staffId: demo.card.people.find(({ name }) => name === '赵敏')?.staffId ?? '',
      text: '同意 {code}',
      answers: 2,
    },
  ];
  let unanswered = 0;
  let code = '';
  for (const scene of scenes) {
    const texts = await playScene(demo, { ...scene, text: scene.text.replace('{code}', code) }, print);
    unanswered += (scene.answers ?? 1) - texts.length;
    code = /\/approve ([2-9A-Z]{4})/.exec(texts.join('\n'))?.[1] ?? code;
  }
  await printStory(demo, code, print);
  return unanswered;
}

async function playScene({ simulator, card }: Demo, scene: Scene, print: (line: string) => void): Promise<string[]> {
  const name = card.people.find(({ staffId }) => staffId === scene.staffId)?.name ?? scene.staffId;
  const { title, through, answers = 1, ...what } = scene;
  if (title !== undefined) print(`\n— ${title}`);
  print(`\n  ${name} → ${scene.robot}   (${through})`);
  print(indent(scene.text));
  const since = await lastLine(simulator);
  await simulator.control.say(what);
  const lines = await simulator.control.messages({ since, from: 'robot', wait: answerWithinMs, count: answers });
  for (const line of lines) {
    const room = card.rooms.find(({ id }) => id === line.conversationId)?.name ?? name;
    print(`  Steward → ${room}   (${line.via})`);
    print(indent(line.text));
  }
  if (lines.length < answers) print(`  ${answers - lines.length} answers never came`);
  return lines.map(({ text }) => text);
}

/** What `steward audit why` says of the request: the same story, from the same database. */
async function printStory(demo: Demo, code: string, print: (line: string) => void): Promise<void> {
  print(`\n— The record of it: bin/steward audit why ${code}\n`);
  const operator = await connectOperatorSocket(path.join(demo.folder, 'steward.sock'));
  try {
    for (const line of await explainTrace({ query: operator.query, id: code, timeZone: demo.timeZone }))
      print(`  ${line}`);
  } catch (error) {
    print(`  it cannot be told: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    await operator.close();
  }
}

export async function lastLine(simulator: Simulator): Promise<number> {
  const lines = await simulator.control.messages();
  return lines.at(-1)?.n ?? 0;
}

const indent = (text: string) => text.replace(/^/gm, '      ');
