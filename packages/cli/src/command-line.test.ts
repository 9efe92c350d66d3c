import { describe, expect, it } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import type { Command } from 'commander';
import { createProgram } from './create-program.ts';
import { steward, temporaryFolder, writeConfig } from './testing.ts';

const program = path.join(import.meta.dirname, '../../../bin/steward');
const folder = temporaryFolder();

/** The real program in a process of its own. */
function spawn(args: readonly string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, ...env },
    encoding: 'utf8',
    timeout: 30_000,
  });
  return { code: status, out: stdout, err: stderr };
}

const nothing = { print: () => undefined, warn: () => undefined };
const root = createProgram(nothing, { act: () => Promise.resolve(), actOnDatabase: () => Promise.resolve() });
const namesOf = (command: Command, before: readonly string[]): (readonly string[])[] => [
  before,
  ...command.commands.flatMap((sub) => namesOf(sub, [...before, sub.name()])),
];
const commands = namesOf(root, []);

describe('the command line', () => {
  it('has the commands that operators are promised', () => {
    expect(commands.map((names) => names.join(' '))).toEqual(
      expect.arrayContaining([
        ...['check', 'explain', 'test', 'diff'].map((name) => `policy ${name}`),
        ...['list', 'show', 'deny', 'approve'].map((name) => `approvals ${name}`),
        ...['list', 'show', 'resolve'].map((name) => `outbound ${name}`),
        ...['list', 'show', 'redrive', 'discard'].map((name) => `dead ${name}`),
        ...['list', 'resolve'].map((name) => `calls ${name}`),
        ...['verify', 'why', 'who-touched', 'export', 'bundle', 'verify-bundle', 'erase', 'retire', 'checkpoint'].map(
          (name) => `audit ${name}`,
        ),
        ...['freeze', 'unfreeze', 'key new', 'key seal', 'key show', 'rooms list', 'people list'],
      ]),
    );
  });

  it.each(commands.map((names) => ({ words: names.join(' '), names })))(
    'explains `steward $words`',
    async ({ names }) => {
      const { code, out, err } = await steward([...names, '--help']);
      expect([code, err]).toEqual([0, '']);
      expect(out).toContain(`Usage: ${['steward', ...names].join(' ')}`);
    },
  );

  it('exits 2 for words that it does not know', async () => {
    for (const args of [
      ['polcy'],
      ['approvals', 'show'],
      ['freeze'],
      ['audit', 'verify', '--from', '0'],
      ['policy', 'check', 'x'],
    ]) {
      const { code, out, err } = await steward(args);
      expect([args, code, out]).toEqual([args, 2, '']);
      expect(err).toContain('error: ');
    }
  });

  it('runs as a program, with its exit codes', () => {
    const env = { STEWARD_CONFIG: writeConfig(folder) };
    expect(spawn(['--help'])).toMatchObject({ code: 0, err: '' });
    expect(spawn(['people', 'list'], env)).toMatchObject({ code: 0, out: expect.stringContaining('王芳') });
    expect(spawn(['policy', 'check', '--policy', folder], env)).toMatchObject({ code: 1 });
    expect(spawn(['unfreeze'])).toMatchObject({ code: 2, out: '' });
  });

  it('says where the database would be, and never the password', () => {
    const none = spawn(['approvals', 'list']);
    expect(none).toMatchObject({ code: 2, out: '', err: expect.stringContaining('(OPERATOR_DATABASE_MISSING)') });
    const url = 'postgres://steward_operator:a-secret-password@127.0.0.1:1/steward';
    const lost = spawn(['approvals', 'list'], { STEWARD_DATABASE_URL: url });
    expect(lost).toMatchObject({ code: 2, out: '', err: expect.stringContaining('(OPERATOR_DATABASE_LOST)') });
    expect(lost.err).not.toContain('a-secret-password');
  });
});
