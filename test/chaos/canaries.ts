import type { Canary } from '@steward/testkit';
import { randomBytes } from 'node:crypto';
import { collectSecrets } from '../e2e/check-secrets.ts';
import { echo, lastUserText } from '../e2e/fake-model.ts';
import { people, roomOf } from '../e2e/stack-config.ts';
import type { Chaos } from './fault.ts';

const fresh = (prefix: string) => `${prefix}${randomBytes(14).toString('hex')}`;

/** Secrets of this run that no service was meant to see or to keep, by where they are planted. */
const planted = {
  environmentToken: fresh('env-'),
  environmentPassword: fresh('env-'),
  headerAuthorization: fresh('hdr-'),
  headerCookie: fresh('hdr-'),
  headerApiKey: fresh('hdr-'),
  queryToken: fresh('qry-'),
  refusedBody: fresh('bdy-'),
  toolArgument: fresh('sk-'),
  modelOutput: fresh('sk-'),
  postgresError: fresh('pge-'),
};

export const plantedEnvironment: Record<string, string> = {
  STEWARD_UNUSED_TOKEN: planted.environmentToken,
  STEWARD_UNUSED_PASSWORD: planted.environmentPassword,
};

/** Puts the secrets where an attacker, a careless person, a model or a failing server would. */
export async function plantCanaries({ stack, model }: Chaos): Promise<void> {
  await fetch(`${stack.adapters[0]?.url ?? ''}/dingtalk/robot/http?token=${planted.queryToken}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${planted.headerAuthorization}`,
      cookie: `session=${planted.headerCookie}`,
      'x-api-key': planted.headerApiKey,
      sign: 'not-a-signature',
      timestamp: String(Date.now()),
    },
    body: JSON.stringify({ password: planted.refusedBody }),
    signal: AbortSignal.timeout(10_000),
  });
  // The endpoint quotes the key that it was called with, as some do.
  model.behave((request) => (lastUserText(request).includes(failing) ? { status: 401 } : echo(request)));
  await failOnce(stack.sql);
  const place = { robot: 'http', room: roomOf('http'), staffId: people.li };
  await stack.say({ ...place, text: `/run service_status service=payments token=${planted.toolArgument}` });
  await stack.say({ ...place, text: `please keep the key ${planted.modelOutput} for me` });
  await stack.say({ ...place, text: `please ${failing}` });
  await stack.say({ ...place, text: databaseFails });
  await seePlanted({ stack, model });
}

/** A secret that never got where it was to be kept from proves nothing: rejects unless all of them did. */
async function seePlanted({ stack, model }: Pick<Chaos, 'stack' | 'model'>): Promise<void> {
  await stack.waitForAnswers({ contains: planted.modelOutput });
  await stack.waitForAnswers({ contains: databaseFails });
  const [once] = await stack.sql<{ is_called: boolean }>('select is_called from public.chaos_once');
  const [call] = await stack.sql(`select from agent_core.tool_call where arguments::text like $1`, [
    `%${planted.toolArgument}%`,
  ]);
  const isAsked = model.requests.some((request) => lastUserText(request).includes(failing));
  if (once?.is_called !== true || call === undefined || !isAsked) throw new Error('a canary was not planted');
}

const failing = 'say that you failed';
const databaseFails = '/q-databasefails';

/** The database quotes a secret in the text of an error, once: a sequence does not come back with the transaction. */
async function failOnce(sql: Chaos['stack']['sql']): Promise<void> {
  await sql('create sequence public.chaos_once');
  await sql(`create function public.chaos_fail() returns trigger language plpgsql security definer as $$
    begin
      if new.content ->> 'text' like '%${databaseFails}%' and nextval('public.chaos_once') = 1 then
        raise exception 'could not connect with password=${planted.postgresError}';
      end if;
      return new;
    end $$`);
  await sql(`create trigger chaos_fails before insert on outbound_sender.outbound_message
    for each row execute function public.chaos_fail()`);
}

/** Every secret of the run: what it was given, what it was lent, and what was planted. */
export async function listCanaries({ stack }: Chaos): Promise<Canary[]> {
  // What a person types into a chat is in the message itself: on the bus and in the room, never in a log or the audit log.
  const typed = ['queue', 'reply'];
  return [
    ...(await collectSecrets(stack)),
    { kind: 'seal key', text: stack.sealKey.privatePem.split('\n')[1] ?? '' },
    ...Object.entries(planted).map(([kind, text]) => ({
      ...{ kind: `planted ${kind}`, text },
      ...((kind === 'toolArgument' || kind === 'modelOutput') && { lawfulIn: typed }),
    })),
  ];
}
