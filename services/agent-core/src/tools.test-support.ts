import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from '@jest/globals';
import { newId } from '@steward/service-kit';
import type { Egress, EgressRequest, EgressResult } from './egress.ts';
import type { ToolCallContext } from './tool.ts';

/** A call by Li Lei in the room of `buildConfig()`, with what matters to a test changed. */
export function buildCallContext(changes: Partial<ToolCallContext> = {}): ToolCallContext {
  return {
    toolCallId: newId(),
    idempotencyKey: 'steward-call-1',
    environment: 'test',
    robotCode: 'dingtest',
    conversationId: 'cid-1',
    conversationKind: 'group',
    requester: { corpId: 'corp-1', staffId: 'staff-1', roles: ['ops'] },
    correlationId: '00000000-0000-7000-8000-000000000001',
    ...changes,
  };
}

/** An egress that answers as told, in order, the last one again and again, and keeps what it was asked. */
export function createTestEgress(...answers: EgressResult[]) {
  const asked: EgressRequest[] = [];
  const egress: Egress = (request) => {
    asked.push(request);
    const answer = answers[Math.min(asked.length, answers.length) - 1];
    return answer === undefined ? Promise.reject(new Error('nobody was to be called')) : Promise.resolve(answer);
  };
  return { egress, asked };
}

export const answeredJson = (value: unknown, status = 200): EgressResult => ({
  kind: 'answered',
  status,
  body: JSON.stringify(value),
});

export const never = new AbortController().signal;

/** A folder for tools and one for secrets, gone after the tests of the file. */
export function createFolders() {
  const root = mkdtempSync(join(tmpdir(), 'steward-tools-'));
  afterAll(() => rmSync(root, { recursive: true }));
  let count = 0;
  const write = (files: Record<string, string>) => {
    count += 1;
    const folder = join(root, String(count));
    mkdirSync(folder);
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    return folder;
  };
  return { write };
}
