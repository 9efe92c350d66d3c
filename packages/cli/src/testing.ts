import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { OperatorConnection } from '@steward/postgres';
import { runCli, type CliContext } from './index.ts';

export const temporaryFolder = (): string => mkdtempSync(path.join(tmpdir(), 'steward-cli-'));
export const shippedPolicy = path.join(import.meta.dirname, '../../../config/policy');
export const shippedTools = path.join(import.meta.dirname, '../../../config/tools');

/** What a command said and how it ended. */
export type Said = { code: number; out: string; err: string };

/** Runs `steward …` in this process, in a world of the test's own. */
export async function steward(args: readonly string[], over: Partial<CliContext> = {}): Promise<Said> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await runCli(
    {
      env: {},
      print: (line) => out.push(`${line}\n`),
      write: (text) => {
        out.push(text);
        return Promise.resolve();
      },
      warn: (line) => err.push(`${line}\n`),
      confirm: () => Promise.resolve(false),
      now: () => new Date('2026-11-25T02:00:00Z'),
      sleep: () => Promise.resolve(),
      account: () => 'li',
      connect: () => Promise.reject(new Error('this command needs no database')),
      ...over,
    },
    args,
  );
  return { code, out: out.join(''), err: err.join('') };
}

/** A connection that a test keeps: commands close theirs, this one stays. */
export const keptOpen = (connection: OperatorConnection): (() => Promise<OperatorConnection>) => {
  return () => Promise.resolve({ query: connection.query, close: () => Promise.resolve() });
};

export const corpId = 'dingcorp';
const robot = { appKey: 'k', appSecretFile: 'robot.app-secret', corpId, doors: ['stream'] };

/** A small configuration: two environments, a room of each, three people. Written as JSON, which is YAML too. */
export function writeConfig(folder: string, over: Record<string, unknown> = {}): string {
  const file = path.join(folder, 'steward.yaml');
  const config = {
    timeZone: 'Asia/Shanghai',
    robots: [
      { ...robot, code: 'dingprod', name: 'ops', environment: 'production' },
      { ...robot, code: 'dingtest', name: 'ops-test', environment: 'test' },
    ],
    rooms: [
      { id: 'cidprod', name: 'ops-room', robot: 'ops', environment: 'production' },
      { id: 'cidtest', name: 'ops-room-test', robot: 'ops-test', environment: 'test' },
    ],
    people: [
      { staffId: '017', corpId, name: 'Li', roles: ['ops'] },
      { staffId: '018', corpId, name: '王芳', roles: ['ops', 'sre-leads'] },
      { staffId: '019', corpId, name: 'Chen', roles: [] },
      { staffId: '020', corpId, name: 'Chen', roles: [] },
    ],
    ...over,
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}
