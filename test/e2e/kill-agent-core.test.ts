import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { createTcpProxy, waitUntil, type TcpProxy } from '@steward/testkit';
import { createFakeModel, echo, lastUserText, type FakeModel } from './fake-model.ts';
import { newQuestion, startStack, waitForBlocked, type Stack } from './harness.ts';
import type { Replica } from './service-replicas.ts';
import { extraRoom, roomOf } from './stack-config.ts';

jest.setTimeout(120_000);

describe('kill -9 of agent-core', () => {
  let stack: Stack;
  let agentCore: Replica;
  let model: FakeModel;
  let rabbit: TcpProxy;
  beforeAll(async () => {
    model = await createFakeModel();
    rabbit = await createTcpProxy(process.env.AMQP_URL ?? '');
    stack = await startStack({
      extraRooms: 1,
      model: { baseUrl: model.baseUrl, timeoutMs: 60_000 },
      route: (service, server, url) => (service === 'agent-core' && server === 'rabbit' ? rabbit.url(url) : url),
    });
    const [first] = stack.agentCores;
    if (first === undefined) throw new Error('no agent-core');
    agentCore = first;
  });
  afterAll(async () => {
    await stack.stop();
    await Promise.all([model.close(), rabbit.close()]);
  });

  const readTurn = async (text: string) => {
    const [turn] = await stack.sql(
      `select t.status, t.attempt, (select count(*)::int from agent_core.outbox o where o.type = 'outbound.requested.v1'
         and o.message->>'correlationId' = t.correlation_id::text) as told,
         (select count(*)::int from outbound_sender.outbound_message m where m.correlation_id = t.correlation_id) as sent
       from agent_core.turn t where t.inbound->'content'->>'text' like $1`,
      [`%${text}%`],
    );
    return turn;
  };

  it('before the recording: RabbitMQ delivers again', async () => {
    const text = newQuestion();
    const unlock = await stack.lockTable('agent_core.turn');
    await stack.say({ robot: 'http', room: roomOf('http'), text });
    const blocked = await waitForBlocked(stack, { table: 'agent_core.turn', statement: 'with moved as (' });
    await agentCore.kill('SIGKILL');
    // The server would finish a statement whose client is gone.
    await stack.sql('select pg_terminate_backend(pid) from unnest($1::int[]) as pid', [blocked]);
    await unlock();
    expect(await readTurn(text)).toBeUndefined();
    await agentCore.start();
    expect(await stack.waitForAnswers({ contains: text })).toHaveLength(1);
    await stack.checkNothingLost();
  });

  it('in a running turn, and after the end of another before it was told: one resumes, one is told, each answered once', async () => {
    const [hanging, ended] = [newQuestion(), newQuestion()];
    const release = Promise.withResolvers<string>();
    model.behave((request) =>
      lastUserText(request).includes(hanging) ? new Promise(() => undefined) : release.promise,
    );
    await stack.say({ robot: 'http', room: roomOf('http'), text: `please ${hanging}` });
    await stack.say({ robot: 'http', room: extraRoom(0), text: `please ${ended}` });
    const isAsked = () =>
      [hanging, ended].every((text) => model.requests.some((request) => lastUserText(request).includes(text)));
    await waitUntil(isAsked, { timeoutMs: 20_000, what: 'both turns to ask the model' });
    // From here on nothing that agent-core publishes arrives.
    rabbit.set('stalled');
    release.resolve(`Here it is: ${ended}`);
    await waitUntil(async () => (await readTurn(ended))?.status === 'done', {
      timeoutMs: 10_000,
      what: 'the turn to end',
    });
    await agentCore.kill('SIGKILL');
    expect(await readTurn(hanging)).toEqual({ status: 'running', attempt: 1, told: 0, sent: 0 });
    expect(await readTurn(ended)).toEqual({ status: 'done', attempt: 1, told: 1, sent: 0 });

    rabbit.cut();
    rabbit.set('passing');
    model.behave(echo);
    await agentCore.start();
    expect(await stack.waitForAnswers({ contains: ended })).toHaveLength(1);
    // After the lease of 4 s.
    expect(await stack.waitForAnswers({ contains: hanging })).toHaveLength(1);
    expect(await readTurn(hanging)).toMatchObject({ status: 'done', attempt: 2 });
    await stack.checkNothingLost();
    for (const text of [hanging, ended]) expect(await stack.waitForAnswers({ contains: text })).toHaveLength(1);
    // The turn that had its reply did not ask (and pay) again.
    expect(model.requests.filter((request) => lastUserText(request).includes(ended))).toHaveLength(1);
  });
});
