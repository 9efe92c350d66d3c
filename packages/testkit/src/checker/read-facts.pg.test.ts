import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { generateSealKey, readPublicKeys } from '@steward/audit';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from '../test-database.ts';
import { readAudit, readLedger, readStoredTexts, type Sql } from './read-facts.ts';

let database: TestDatabase;
let pool: pg.Pool;
const sql: Sql = async <T>(text: string, values: readonly unknown[] = []) =>
  (await pool.query(text, [...values])).rows as T[];
const [event, click, turn, message, attempt, audit] = Array.from({ length: 6 }, () => randomUUID());
const publicKeys = readPublicKeys(generateSealKey().publicKeyPem);
const startedAt = new Date('2026-01-02T03:04:05.678Z');

beforeAll(async () => {
  database = await createTestDatabase();
  pool = new pg.Pool({ connectionString: database.adminUrl, max: 2 });
  await sql(
    `insert into adapter.inbound_event (id, kind, source, source_id, conversation_id, sequence, correlation_id, door, body_hash, settled_at)
     values ($1, 'robot_message', 'robot', 'msg1', 'room', 1, $1, 'http', '\\x00', now()),
       ($2, 'card_click', 'robot', null, null, null, $2, 'http', '\\x00', null)`,
    [event, click],
  );
  await sql(
    `insert into agent_core.conversation (robot_code, conversation_id, kind) values ('robot', 'room', 'group')`,
  );
  await sql(
    `insert into agent_core.turn (id, inbound_event_id, robot_code, conversation_id, sequence, lane, status, correlation_id, inbound)
     values ($1, $2, 'robot', 'room', 1, 'answer', 'done', $2, '{}')`,
    [turn, event],
  );
  await sql(
    `insert into outbound_sender.outbound_message (id, correlation_id, environment, lane, budget, target, content, parts, status, reason, ended_at)
     values ($1, $2, 'test', 'answer', 'robot', '{}', '{"kind":"text","text":"the answer"}', '["the answer"]', 'unknown', 'TIMED_OUT', now())`,
    [message, event],
  );
  await sql(
    `insert into outbound_sender.delivery_attempt (id, outbound_message_id, number, part, path, started_at)
     values ($1, $2, 1, 0, 'session_webhook', $3)`,
    [attempt, message, startedAt],
  );
  await sql(
    `insert into adapter.outbox (id, type, subject_id, message, needs_receipt) values ($1, 'x', $1, '{"kept":"in the outbox"}', true)`,
    [event],
  );
  for (const [id, kind, subject, detail] of [
    [audit, 'turn.ended', turn, { said: 'in the audit log' }],
    [randomUUID(), 'inbound.recorded', event, { kind: 'robot_message' }],
    [randomUUID(), 'inbound.recorded', click, { kind: 'card_click' }],
    [randomUUID(), 'door.rejected', 'robot', {}],
  ])
    await sql(
      `insert into audit.entry (id, service, kind, outcome, subject_id, detail) values ($1, 'adapter', $2, 'ok', $3, $4)`,
      [id, kind, subject, detail],
    );
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

describe('what the checker reads', () => {
  it('has the ledgers of all services, messages of people alone', async () => {
    const facts = await readLedger(sql);
    expect(facts).toEqual({
      events: [{ id: event, sourceId: 'msg1', place: 'robot room', sequence: 1, isSettled: true }],
      turns: [{ id: turn, eventId: event, status: 'done' }],
      messages: [{ id: message, status: 'unknown', reason: 'TIMED_OUT', text: 'the answer', isEnded: true }],
      sends: [
        {
          ...{ id: attempt, subjectId: message, outcome: 'unknown', code: null, isOpen: true },
          startedAt: startedAt.getTime(),
        },
      ],
      toolCalls: [],
      toolAttempts: [],
    });
  });

  it('counts the entries that the ledger answers for, and says what verifying found', async () => {
    const { faults, entries } = await readAudit(sql, { publicKeys, unsealedLimitSeconds: 600 });
    expect(faults).toEqual([]);
    expect(Object.fromEntries(entries)).toEqual({ [`turn.ended ${turn}`]: 1, [`inbound.recorded ${event}`]: 1 });
    const late = await readAudit(sql, { publicKeys, unsealedLimitSeconds: -1 });
    expect(late.faults).toEqual([expect.stringContaining('entry_not_sealed')]);
  });

  it('finds text where a secret could have gone: audit log, outboxes, reasons', async () => {
    const text = async (place: string, since?: Date) =>
      (await readStoredTexts(sql, since)).find((one) => one.place === place)?.text;
    expect(await text('audit')).toContain('in the audit log');
    expect(await text('audit', new Date(Date.now() + 60_000))).toBe('');
    expect(await text('queue')).toContain('in the outbox');
    expect(await text('ledger reasons')).toContain('TIMED_OUT');
  });
});
