import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createPublicKey, verify } from 'node:crypto';
import path from 'node:path';
import pg from 'pg';
import { approvalDigest, approvalIdentity, toSignedClaims } from '@steward/governance';
import { connectOperatorPostgres, type OperatorConnection } from '@steward/postgres';
import { newId } from '@steward/service-kit';
import { createTestDatabase, type TestDatabase } from '@steward/testkit';
import { corpId, keptOpen, steward, temporaryFolder, writeConfig } from './testing.ts';

const folder = temporaryFolder();
const config = writeConfig(folder);
const keyFile = path.join(folder, '018.key');
let database: TestDatabase;
let core: pg.Pool;
/** Puts in calls without the turns they would belong to. */
let admin: pg.Client;
let operator: OperatorConnection;
let publicKey = '';
beforeAll(async () => {
  database = await createTestDatabase();
  core = new pg.Pool({ connectionString: database.url('steward_agent_core'), max: 2 });
  admin = new pg.Client({ connectionString: database.adminUrl });
  await admin.connect();
  await admin.query('set session_replication_role = replica');
  operator = await connectOperatorPostgres(database.url('steward_operator'));
  publicKey = (await steward(['key', 'new', keyFile])).out.trim();
});
afterAll(async () => {
  await operator.close();
  await core.end();
  await admin.end();
  await database.drop();
});

const run = (args: readonly string[], over: Parameters<typeof steward>[1] = {}) =>
  steward(args, { connect: keptOpen(operator), env: { STEWARD_CONFIG: config }, ...over });

/** A call that waits for its approval, as agent-core records one. */
async function addRequest(over: {
  code: string;
  environment?: string;
  corpId?: string;
  arguments?: object;
  shown?: object;
}) {
  const ids = { request: newId(), call: newId(), turn: newId(), correlation: newId() };
  const environment = over.environment ?? 'production';
  const requester = { corpId: over.corpId ?? corpId, staffId: '017' };
  const args = { service: 'web\u202e', of: over.code, ...over.arguments };
  const bound = {
    requestId: ids.request,
    definitionHash: 'f'.repeat(64),
    arguments: args,
    requester,
    room: { robotCode: 'dingprod', conversationId: 'cidprod' },
    robot: 'ops',
    environment: environment as 'test' | 'production',
  };
  await admin.query(
    `insert into agent_core.tool_call (id, turn_id, step, position, proposed_by, tool, effect, definition_hash, arguments,
       environment, robot_code, conversation_id, correlation_id, requester_staff_id, requester_corp_id, verdict, verdict_reason,
       status) values ($1, $2, 0, 0, 'person', 'restart_service', 'write', $3, $4, $5, 'dingprod', 'cidprod', $6, '017', $7, 'ask',
       'needs_approval', 'waiting')`,
    [ids.call, ids.turn, bound.definitionHash, args, environment, ids.correlation, requester.corpId],
  );
  const card = {
    ...{ tool: 'restart_service', description: 'Restarts a service.', effect: 'write', environment, room: 'ops-room' },
    ...{ requesterName: 'Li\u001b[2J', requesterStaffId: '017', arguments: over.shown ?? args, preview: null },
  };
  await core.query(
    `insert into agent_core.approval_request (id, tool_call_id, code, digest, identity, environment, robot_code, conversation_id,
       correlation_id, requester_staff_id, requester_corp_id, approver_groups, quorum, deny_quorum, reason_required,
       self_approval, policy_hash, policy_ids, card, too_large, approve_by, run_within_seconds)
     values ($1, $2, $3, $4, $5, $6, 'dingprod', 'cidprod', $7, '017', $8, '[["sre-leads"]]', 1, 1, false, false, 'abc',
       '["writes-ask"]', $9, false, now() + interval '15 minutes', 600)`,
    [
      ids.request,
      ids.call,
      over.code,
      approvalDigest(bound),
      approvalIdentity(bound),
      environment,
      ids.correlation,
      requester.corpId,
      card,
    ],
  );
  return { ...ids, digest: approvalDigest(bound).toString('hex') };
}

/** Plays agent-core: answers what is asked while the command waits. */
const answering = (answer: { ok: boolean; text: string }) => async () => {
  await core.query(
    'update agent_core.operator_request set answered_at = now(), answer = $1 where answered_at is null',
    [answer],
  );
};
type Recorded = { verb: string; body: Record<string, string>; asked_by: string };
const newestRequest = async (): Promise<Recorded | undefined> =>
  (
    await core.query<Recorded>(
      'select verb, body, asked_by from agent_core.operator_request order by asked_at desc limit 1',
    )
  ).rows[0];

describe('steward approvals', () => {
  it('lists what waits, with nothing drawn by what people wrote', async () => {
    await addRequest({ code: 'LST2' });
    const { code, out } = await run(['approvals', 'list']);
    expect(code).toBe(0);
    expect(out).toMatch(
      /LST2\s+pending\s+restart_service\s+write\s+production\s+ops-room\s+Li\\u\{1b\}\[2J \(017\)\s+0\/1/,
    );
    expect(out).toContain('Asia/Shanghai');
    expect(JSON.parse((await run(['approvals', 'list', '--json'])).out)).toHaveLength(1);
    expect((await run(['approvals', 'list', '--environment', 'test'])).out).toBe('nothing waits for a decision\n');
  });

  it('shows every byte of what would be called', async () => {
    const { digest } = await addRequest({ code: 'SHW2', arguments: { note: 'a\nb', deep: { list: [1.5, null] } } });
    const { code, out } = await run(['approvals', 'show', 'shw2']);
    expect(code).toBe(0);
    for (const text of [digest, String.raw`"web\u{202e}"`, String.raw`"a\nb"`, '1.5', 'sre-leads', 'writes-ask']) {
      expect(out).toContain(text);
    }
  });

  it('says that there is no such request, and asks which one when there are two', async () => {
    const unknown = await run(['approvals', 'show', '2222']);
    expect([unknown.code, unknown.err]).toEqual([2, expect.stringContaining('(APPROVAL_UNKNOWN)')]);
    await addRequest({ code: 'TWO2', corpId: 'other' });
    await core.query(
      `update agent_core.approval_request set status = 'cancelled', decided_at = now(), ended_at = now() where code = 'TWO2'`,
    );
    await addRequest({ code: 'TWO2', environment: 'test' });
    // The open one is meant.
    expect(JSON.parse((await run(['approvals', 'show', 'TWO2', '--json'])).out)).toMatchObject({ environment: 'test' });
    await core.query(
      `update agent_core.approval_request set status = 'cancelled', decided_at = now(), ended_at = now() where code = 'TWO2' and status = 'pending'`,
    );
    expect((await run(['approvals', 'show', 'TWO2'])).err).toContain('(APPROVAL_AMBIGUOUS)');
    expect((await run(['approvals', 'show', 'TWO2', '--corp', 'other'])).code).toBe(0);
  });

  it('asks agent-core to deny, and tells its answer', async () => {
    await addRequest({ code: 'DNY2' });
    const sleep = answering({ ok: true, text: 'DNY2 will not run' });
    expect(await run(['approvals', 'deny', 'DNY2', '--reason', 'not now'], { sleep })).toEqual({
      code: 0,
      out: 'DNY2 will not run\n',
      err: '',
    });
    expect(await newestRequest()).toEqual({
      verb: 'approvals.deny',
      body: { environment: 'production', corpId, code: 'DNY2', reason: 'not now' },
      asked_by: 'li',
    });
  });

  it('exits 1 when agent-core refuses, and 2 when it does not answer', async () => {
    await addRequest({ code: 'RFS2' });
    const refused = await run(['approvals', 'deny', 'RFS2', '--reason', 'x'], {
      sleep: answering({ ok: false, text: 'RFS2 is closed\u001b[2J' }),
    });
    expect(refused).toEqual({ code: 1, out: '', err: String.raw`RFS2 is closed\u{1b}[2J` + '\n' });
    let slept = 0;
    const silent = await run(['approvals', 'deny', 'RFS2', '--reason', 'x'], {
      sleep: (ms) => {
        slept += ms;
        return Promise.resolve();
      },
    });
    expect([silent.code, slept]).toEqual([2, 15_000]);
    expect(silent.err).toContain('(OPERATOR_UNANSWERED)');
  });

  const approve = (code: string, ...more: string[]) =>
    ['approvals', 'approve', code, '--key', keyFile, '--as', '018', ...more] as const;

  it('signs what was shown, as the person whose key it is', async () => {
    const { digest } = await addRequest({ code: 'APR2' });
    const asked: string[] = [];
    const { code, out } = await run(approve('apr2', '--reason', 'seen'), {
      confirm: (question) => {
        asked.push(question);
        return Promise.resolve(true);
      },
      sleep: answering({ ok: true, text: 'approved' }),
    });
    expect([code, asked]).toEqual([0, ['approve APR2 as 018?']]);
    expect(out).toContain(String.raw`"web\u{202e}"`);
    const { verb = '', body = {} } = (await newestRequest()) ?? {};
    const { signature = '', ...claims } = body;
    expect(claims).toEqual({
      environment: 'production',
      code: 'APR2',
      digest,
      reason: 'seen',
      staffId: '018',
      corpId,
      at: '2026-11-25T02:00:00.000Z',
    });
    const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.from(publicKey, 'base64')]);
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    expect(verify(null, toSignedClaims(verb, claims), key, Buffer.from(signature, 'base64'))).toBe(true);
  });

  it('signs nothing when the person does not say yes', async () => {
    await addRequest({ code: 'NON2' });
    const before = await newestRequest();
    const { code, err } = await run(approve('NON2'));
    expect([code, err]).toEqual([1, expect.stringContaining('nothing was approved')]);
    expect(await newestRequest()).toEqual(before);
  });

  it('signs nothing when the rows do not fit the digest', async () => {
    await addRequest({ code: 'CRD2', shown: { service: 'harmless' } });
    expect((await run(approve('CRD2', '--yes'))).err).toContain('(APPROVAL_ALTERED)');
    const { call } = await addRequest({ code: 'ALT2', arguments: { replicas: 2 } });
    await admin.query(`update agent_core.tool_call set arguments = '{"replicas":200}' where id = $1`, [call]);
    const { code, err, out } = await run(approve('ALT2', '--yes'));
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('(APPROVAL_ALTERED)');
  });

  it('needs a configured person', async () => {
    await addRequest({ code: 'PRS2' });
    const { code, err } = await run(['approvals', 'approve', 'PRS2', '--key', keyFile, '--as', '999', '--yes']);
    expect([code, err]).toEqual([2, expect.stringContaining('(PERSON_UNKNOWN)')]);
  });
});

describe('steward freeze', () => {
  it('asks for both environments at once unless one is named', async () => {
    const sleep = answering({ ok: true, text: 'is frozen' });
    expect((await run(['freeze', '--reason', 'fire'], { sleep })).out).toBe('is frozen\nis frozen\n');
    const { rows } = await core.query<Recorded>(
      `select body from agent_core.operator_request where verb = 'freeze' order by body`,
    );
    expect(rows.map(({ body }) => body['environment']).sort()).toEqual(['production', 'test']);
    expect((await run(['freeze', '--environment', 'test', '--reason', 'fire'], { sleep })).out).toBe('is frozen\n');
  });

  it('works without a configuration', async () => {
    const { code } = await run(['freeze', '--reason', 'fire'], {
      env: { STEWARD_CONFIG: path.join(folder, 'none.yaml') },
      sleep: answering({ ok: true, text: 'is frozen' }),
    });
    expect(code).toBe(0);
  });

  it('unfreezes with a signature alone', async () => {
    const unsigned = await run(['unfreeze', '--environment', 'test', '--reason', 'over']);
    expect([unsigned.code, unsigned.err]).toEqual([2, expect.stringContaining('--key')]);
    const args = ['unfreeze', '--environment', 'test', '--reason', 'over', '--key', keyFile, '--as', '王芳'];
    expect((await run(args, { sleep: answering({ ok: true, text: 'is open' }) })).code).toBe(0);
    const { verb = '', body = {} } = (await newestRequest()) ?? {};
    const { signature = '', ...claims } = body;
    expect(claims).toEqual({
      environment: 'test',
      reason: 'over',
      staffId: '018',
      corpId,
      at: '2026-11-25T02:00:00.000Z',
    });
    const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.from(publicKey, 'base64')]);
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    expect(verify(null, toSignedClaims(verb, claims), key, Buffer.from(signature, 'base64'))).toBe(true);
  });
});
