import { createHash } from 'node:crypto';
import { buildInbound } from '../../services/adapter/src/testing.ts';
import { people } from '../../services/agent-core/src/gate.test-support.ts';
import { buildReceived } from '../../services/agent-core/src/testing.ts';
import type { Heard, Question } from './check-promises.ts';
import { pick } from '../random.ts';
import { createSimApprovers } from './sim-approvers.ts';
import type { Replica } from './sim-replicas.ts';
import type { World } from './world.ts';

const rooms = ['cid-1', 'cid-2'];

/**
 * People who ask two or three things, or ask for a change and decide on it; and the platform that delivers each line until it is
 * acknowledged, and sometimes after that.
 */
export function createSimPeople(world: World, seed: number, replicas: readonly Replica[], heard: readonly Heard[]) {
  const { random, scheduler, meet, isHostile, isGoverned } = world;
  const questions: (Question & { inFlight: Replica | null })[] = [];
  const say = (line: Pick<Question, 'room' | 'who' | 'kind'>, toText: (msgId: string) => string): Question => {
    const msgId = `${seed}-${questions.length}`;
    const question = { ...line, msgId, text: toText(msgId), isAcked: false, inFlight: null };
    questions.push(question);
    return question;
  };
  const plain = isGoverned ? 1 : 2 + Math.floor(random() * 2);
  for (let at = 0; at < plain; at += 1)
    say({ room: pick(random, rooms), who: people.li, kind: 'words' }, (msgId) => `/q-${msgId}`);
  const approvers = createSimApprovers(world, { say, heard, rooms });
  if (isGoverned) for (let at = 0; at < 3; at += 1) approvers.ask();

  const post = (question: (typeof questions)[number]): void => {
    const adapters = replicas.filter((one) => one.kind === 'adapter' && one.isAlive && !one.isPaused);
    if (adapters.length === 0) return;
    const adapter = pick(random, adapters);
    if (adapter.recorder === null) return;
    question.inFlight = adapter;
    adapter.recorder.record(toInbound(question)).then(
      ({ duplicate }) => {
        scheduler.note(`${adapter.name}: answers 200 to ${question.msgId}`);
        if (duplicate) meet('redeliveries');
        question.isAcked = true;
        question.inFlight = null;
      },
      () => (question.inFlight = null),
    );
  };
  const repeatShare = isGoverned ? 0.01 : 0.03;
  const isEverythingAcked = () => questions.every(({ isAcked }) => isAcked);
  /** Everybody has said what they will say, and it is acknowledged. */
  const isSilent = () => approvers.isSilent() && isEverythingAcked();

  return {
    questions,
    asks: approvers.asks,
    isEverythingAcked,
    isSilent,
    /** People say, and the platform delivers, what is due, by chance. */
    deliver: (): void => {
      if (!isHostile() && isSilent()) return;
      approvers.speak();
      for (const question of questions) {
        // Whoever died answers nobody: it comes again.
        if (question.inFlight?.isAlive === false) question.inFlight = null;
        const isDue = !question.isAcked || (isHostile() && random() < repeatShare);
        if (isDue && question.inFlight === null && random() < 0.5) post(question);
      }
    },
  };
}

function toInbound({ msgId, room, who, text }: Question) {
  const received = buildReceived({ room, robotCode: 'dingtest', text, requester: { staffId: who, nick: who } });
  const inbound = buildInbound({
    ...{ source: 'dingtest', sourceId: msgId, conversationId: room, staffId: who },
    bodyHashHex: createHash('sha256').update(msgId).digest('hex'),
  });
  const body = { ...received.body, inboundEventId: inbound.id, msgId };
  return { ...inbound, message: { ...received, correlationId: inbound.correlationId, body } };
}
