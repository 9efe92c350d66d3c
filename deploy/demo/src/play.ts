import type { Simulator } from '@steward/dingtalk-simulator';
import type { Demo } from './start-demo.ts';

/** Long enough for a slow machine; a scene that takes longer has failed, and says so. */
const answerWithinMs = 20_000;

/** One scene: who says what where, and what comes back. */
type Scene = { robot: string; room?: string; staffId: string; text: string; through: string };

/** Plays a short conversation through the real doors and prints it as it happens. Returns how many answers never came. */
export async function play(demo: Demo, print: (line: string) => void): Promise<number> {
  const roomOf = (robot: string) => demo.card.rooms.find((room) => room.robot === robot)?.id;
  const [li = '', han = '', wang = ''] = demo.card.people.map(({ staffId }) => staffId);
  const scenes: Scene[] = [
    { robot: 'ops', room: roomOf('ops'), staffId: li, text: '/ping', through: 'signed HTTP callback' },
    { robot: 'ops', room: roomOf('ops'), staffId: han, text: '/whoami', through: 'signed HTTP callback' },
    { robot: 'stream', room: roomOf('stream'), staffId: wang, text: '／状态', through: 'Stream socket' },
    { robot: 'stream', staffId: li, text: '今天谁值班？', through: 'Stream socket, single chat' },
  ];
  let unanswered = 0;
  for (const scene of scenes) unanswered += (await playScene(demo, scene, print)) ? 0 : 1;
  return unanswered;
}

async function playScene({ simulator, card }: Demo, scene: Scene, print: (line: string) => void): Promise<boolean> {
  const name = card.people.find(({ staffId }) => staffId === scene.staffId)?.name ?? scene.staffId;
  const { through, ...what } = scene;
  print(`\n  ${name} → ${scene.robot}   (${through})`);
  print(indent(scene.text));
  const since = await lastLine(simulator);
  await simulator.control.say(what);
  const [answer] = await simulator.control.messages({ since, from: 'robot', wait: answerWithinMs });
  print(`  Steward → ${answer === undefined ? 'nobody: no answer came' : `${name}   (${answer.via})`}`);
  if (answer !== undefined) print(indent(answer.text));
  return answer !== undefined;
}

export async function lastLine(simulator: Simulator): Promise<number> {
  const lines = await simulator.control.messages();
  return lines.at(-1)?.n ?? 0;
}

const indent = (text: string) => text.replace(/^/gm, '      ');
