import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  approvalDigest,
  approvalIdentity,
  hashDefinition,
  MAX_ARGUMENT_BYTES,
  type ApprovalSubject,
  type JsonObject,
  type ToolDefinition,
} from './index.ts';

const subject: ApprovalSubject = {
  requestId: '01939d5c-0000-7000-8000-000000000001',
  definitionHash: 'ab'.repeat(32),
  arguments: { service: 'web', replicas: 3 },
  requester: { corpId: 'ding1', staffId: 'li' },
  room: { robotCode: 'dingrobot', conversationId: 'cid==' },
  robot: 'ops',
  environment: 'production',
};

const definition: ToolDefinition = {
  name: 'restart_service',
  description: 'Restarts a service',
  parameters: { type: 'object', additionalProperties: false, properties: { service: { type: 'string' } } },
  effect: 'write',
  repeatable: false,
  environments: ['test', 'production'],
  timeoutMs: 10_000,
  maxOutputBytes: 4_096,
  limit: { calls: 5, perSeconds: 60 },
  comparedPreviewFields: ['version'],
  request: { method: 'POST', url: 'https://ops.example/restart', headers: { authorization: { secret: 'ops-token' } } },
};

/** A change of each single field, however deep. */
const changes: [string, Partial<ApprovalSubject>][] = [
  ['requestId', { requestId: '01939d5c-0000-7000-8000-000000000002' }],
  ['definitionHash', { definitionHash: 'cd'.repeat(32) }],
  ['an argument', { arguments: { service: 'web', replicas: 4 } }],
  ['the type of an argument', { arguments: { service: 'web', replicas: '3' } }],
  ['an argument more', { arguments: { ...subject.arguments, force: null } }],
  ['an argument less', { arguments: { service: 'web' } }],
  ['corpId', { requester: { corpId: 'ding2', staffId: 'li' } }],
  ['staffId', { requester: { corpId: 'ding1', staffId: 'wang' } }],
  ['where one id ends and the other begins', { requester: { corpId: 'ding1l', staffId: 'i' } }],
  ['robotCode', { room: { robotCode: 'dingother', conversationId: 'cid==' } }],
  ['conversationId', { room: { robotCode: 'dingrobot', conversationId: 'cid=' } }],
  ['robot', { robot: 'ops-test' }],
  ['environment', { environment: 'test' }],
  ['a look-alike letter in an argument', { arguments: { service: 'w\u0435b', replicas: 3 } }],
  ['a full-width letter in an argument', { arguments: { service: '\uff57eb', replicas: 3 } }],
  ['a zero-width character in an argument', { arguments: { service: 'web\u200b', replicas: 3 } }],
  ['a look-alike letter in a person', { requester: { corpId: 'ding1', staffId: 'l\u0456' } }],
  ['another way to write the same accent', { arguments: { service: 'cafe\u0301', replicas: 3 } }],
];

describe('approvalDigest', () => {
  it('is 32 bytes and the same for the same subject', () => {
    expect(approvalDigest(subject)).toHaveLength(32);
    expect(approvalDigest(structuredClone(subject))).toEqual(approvalDigest(subject));
  });

  it.each(changes)('changes with %s', (name, change) => {
    const changed = { ...subject, ...change };
    expect(approvalDigest(changed)).not.toEqual(approvalDigest(subject));
    if (name !== 'requestId') expect(approvalIdentity(changed)).not.toEqual(approvalIdentity(subject));
  });

  it('tells two spellings of one accent apart', () => {
    const spelled = (service: string) => approvalDigest({ ...subject, arguments: { service } });
    expect(spelled('caf\u00e9')).not.toEqual(spelled('cafe\u0301'));
  });

  it('does not depend on the order of names, nor on what else the object carries', () => {
    const other = {
      ...Object.fromEntries(Object.entries(subject).toReversed()),
      extra: 1,
    } as unknown as ApprovalSubject;
    expect(approvalDigest(other)).toEqual(approvalDigest(subject));
  });

  it('changes with any change of the arguments', () => {
    const args = fc.dictionary(fc.string({ maxLength: 8 }), fc.jsonValue({ maxDepth: 2 }), {
      maxKeys: 4,
      noNullPrototype: true,
    });
    fc.assert(
      fc.property(args, args, (a, b) => {
        const digest = (value: unknown) =>
          approvalIdentity({ ...subject, arguments: value as JsonObject }).toString('hex');
        const isSame = JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
        expect(digest(a) === digest(b)).toBe(isSame);
      }),
    );
  });

  it('refuses arguments over 16 KiB, and takes them at the limit', () => {
    const withText = (bytes: number) => ({ ...subject, arguments: { a: 'x'.repeat(bytes - '{"a":""}'.length) } });
    expect(approvalDigest(withText(MAX_ARGUMENT_BYTES))).toHaveLength(32);
    expect(() => approvalDigest(withText(MAX_ARGUMENT_BYTES + 1))).toThrow(
      expect.objectContaining({ code: 'ARGUMENTS_TOO_LARGE' }),
    );
  });
});

/** Plain JSON with sorted names, and no negative zero, which JSON writes as 0. */
function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(sorted);
  return Object.entries(value)
    .map(([name, part]) => [name, sorted(part)])
    .toSorted(([a], [b]) => (String(a) < String(b) ? -1 : 1));
}

describe('approvalIdentity', () => {
  it('is one for two requests for the same thing', () => {
    const { requestId, ...rest } = subject;
    expect(requestId).not.toBe('');
    expect(approvalIdentity(rest)).toEqual(approvalIdentity(subject));
    expect(approvalIdentity(rest)).not.toEqual(approvalDigest(subject));
  });
});

describe('hashDefinition', () => {
  const changed: { [Field in keyof ToolDefinition]: ToolDefinition[Field] } = {
    name: 'restart_host',
    description: 'Restarts a service now',
    parameters: { type: 'object', additionalProperties: false },
    effect: 'destructive',
    repeatable: true,
    environments: ['test'],
    timeoutMs: 10_001,
    maxOutputBytes: 1,
    limit: null,
    comparedPreviewFields: [],
    request: { method: 'POST', url: 'https://ops.example/restart', headers: { authorization: { secret: 'other' } } },
  };

  it.each(Object.keys(changed) as (keyof ToolDefinition)[])('changes with %s', (field) => {
    const other = { ...definition, [field]: changed[field] };
    expect(hashDefinition(other)).toMatch(/^[0-9a-f]{64}$/);
    expect(hashDefinition(other)).not.toBe(hashDefinition(definition));
  });
});
