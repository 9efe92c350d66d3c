import { createHash } from 'node:crypto';
import { buildInbound } from '../../services/adapter/src/testing.ts';
import { buildReceived } from '../../services/agent-core/src/testing.ts';
import type { Question } from './check-promises.ts';
import { pick } from '../random.ts';
import type { Replica } from './sim-replicas.ts';
import type { World } from './world.ts';

const rooms = ['cid-1', 'cid-2'];

/** People who ask two or three things, and the platform that delivers each until it is acknowledged, and sometimes after that. */
export function createSimPeople(world: World, seed: number, replicas: readonly Replica[]) {
  const { random, scheduler, meet, isHostile } = world;
  const questions: (Question & { inFlight: Replica | null })[] = Array.from(
    { length: 2 + Math.floor(random() * 2) },
    (_, at) => ({ msgId: `${seed}-${at}`, room: pick(random, rooms), isAcked: false, inFlight: null }),
  );

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

  return {
    questions,
    isEverythingAcked: () => questions.every(({ isAcked }) => isAcked),
    /** The platform delivers what is due, by chance. */
    deliver: (): void => {
      for (const question of questions) {
        // Whoever died answers nobody: it comes again.
        if (question.inFlight?.isAlive === false) question.inFlight = null;
        const isDue = !question.isAcked || (isHostile() && random() < 0.03);
        if (isDue && question.inFlight === null && random() < 0.5) post(question);
      }
    },
  };
}

function toInbound({ msgId, room }: Question) {
  const received = buildReceived({ room, robotCode: 'dingtest', text: `/q-${msgId}` });
  const inbound = buildInbound({
    ...{ source: 'dingtest', sourceId: msgId, conversationId: room },
    bodyHashHex: createHash('sha256').update(msgId).digest('hex'),
  });
  const body = { ...received.body, inboundEventId: inbound.id, msgId };
  return { ...inbound, message: { ...received, correlationId: inbound.correlationId, body } };
}
