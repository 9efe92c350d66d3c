import { expect, it } from '@jest/globals';
import { newId } from '@steward/service-kit';
import type { OperatorConnection, Query } from './index.ts';

/** What the command line relies on, whichever database it talks to. `open` gives a new connection as steward_operator. */
export function testOperatorConnection(open: () => Promise<OperatorConnection>): void {
  const run = async <T>(work: (query: Query) => Promise<T>): Promise<T> => {
    const connection = await open();
    try {
      return await work(connection.query);
    } finally {
      await connection.close();
    }
  };

  it('gives every value as JSON can say it', async () => {
    const rows = await run((query) =>
      query(
        `select $1::text as "text", $2::integer as "number", $3::bigint as "big", $4::boolean as "yes", $5::jsonb as "json",
           $6::timestamptz as "at", decode($7, 'hex') as "bytes", $8::text[] as "list", null::text as "nothing",
           array[$6::timestamptz] as "times"`,
        [
          '值',
          7,
          '9007199254740991',
          true,
          '{"n":1.50,"list":[null]}',
          '2026-11-25T10:00:00.123Z',
          '00ff',
          ['a', 'b,"'],
        ],
      ),
    );
    expect(rows).toEqual([
      {
        text: '值',
        number: 7,
        big: Number.MAX_SAFE_INTEGER,
        yes: true,
        json: { n: 1.5, list: [null] },
        at: '2026-11-25T10:00:00.123Z',
        bytes: String.raw`\x00ff`,
        list: ['a', 'b,"'],
        nothing: null,
        times: ['2026-11-25T10:00:00.123Z'],
      },
    ]);
  });

  it('takes times, big numbers and objects as parameters, and bytes as hex alone', async () => {
    await run(async (query) => {
      const rows = await query(
        `select $1::timestamptz = '2026-11-25 10:00:00Z' as "at", $2::bigint as "big", $3::jsonb as "json", $4::text as "nothing"`,
        [new Date('2026-11-25T10:00:00Z'), 12n, { a: ['b'] }, undefined],
      );
      expect(rows).toEqual([{ at: true, big: 12, json: { a: ['b'] }, nothing: null }]);
      await expect(query('select $1::bytea as b', [Buffer.from([0xff])])).rejects.toMatchObject({
        code: 'OPERATOR_STATEMENT_REFUSED',
      });
    });
  });

  it('works as the operator, who may record a request and may not answer it', async () => {
    const id = newId();
    await run(async (query) => {
      expect(await query('select current_user::text as "who"')).toEqual([{ who: 'steward_operator' }]);
      await query(
        `insert into agent_core.operator_request (id, verb, body, asked_by) values ($1, 'freeze', $2::jsonb, 'li')`,
        [id, JSON.stringify({ environment: 'test' })],
      );
      expect(await query('select body from agent_core.operator_request where id = $1', [id])).toEqual([
        { body: { environment: 'test' } },
      ]);
      await expect(
        query(`with answered as (update agent_core.operator_request set answer = '{}') select 1`),
      ).rejects.toMatchObject({ code: 'OPERATOR_DATABASE_REFUSED', details: { sqlState: '42501' } });
      await expect(query('select 1 from agent_core.turn')).rejects.toMatchObject({ code: 'OPERATOR_DATABASE_REFUSED' });
      await expect(query('insert into audit.entry default values')).rejects.toMatchObject({
        details: { sqlState: '42501' },
      });
    });
  });

  it('goes on after a statement that the database refused, and says what it said', async () => {
    await run(async (query) => {
      await expect(query('select 1 / $1::integer as "n"', [0])).rejects.toThrow(
        'the database refused: division by zero',
      );
      expect(await query('select 2 as "n"')).toEqual([{ n: 2 }]);
    });
  });

  it.each([
    'select 1; select 2',
    'begin',
    'commit',
    'rollback',
    'set role steward_owner',
    'reset role',
    'update agent_core.freeze set frozen = false',
    'delete from audit.entry',
    '-- a comment\nbegin',
    'copy audit.entry to stdout',
    '',
  ])('refuses %j before it is sent', async (text) => {
    await run((query) => expect(query(text)).rejects.toMatchObject({ code: 'OPERATOR_STATEMENT_REFUSED' }));
  });

  it('answers several questions at once, each with its own rows', async () => {
    await run(async (query) => {
      const asked = Array.from({ length: 20 }, (_, n) => query('select $1::integer as "n"', [n]));
      expect(await Promise.all(asked)).toEqual(Array.from({ length: 20 }, (_, n) => [{ n }]));
    });
  });

  it('carries large answers whole', async () => {
    const rows = await run((query) =>
      query<{ text: string }>(`select repeat('值', 1000) || n as "text" from generate_series(1, 2000) n`),
    );
    expect(rows).toHaveLength(2_000);
    expect(rows[1_999]?.text).toBe(`${'值'.repeat(1_000)}2000`);
  });
}
