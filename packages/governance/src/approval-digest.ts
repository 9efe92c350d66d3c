import { createHash } from 'node:crypto';
import type { Environment } from '@steward/contracts';
import { AppError } from '@steward/service-kit';
import { canonicalJson, sha256Hex } from './canonical-json.ts';
import type { JsonObject, ToolDefinition } from './tool-definition.ts';

/** Canonical arguments of a call hold at most so much: more is no longer something that people can read and approve. */
export const MAX_ARGUMENT_BYTES = 16_384;

/** What an approval is about: change any of it and it is another approval (note A1). */
export type ApprovalSubject = {
  requestId: string;
  /** Of `hashDefinition`. */
  definitionHash: string;
  arguments: JsonObject;
  requester: { corpId: string; staffId: string };
  room: { robotCode: string; conversationId: string };
  /** The robot's name in the configuration. */
  robot: string;
  environment: Environment;
};

/** SHA-256 of everything that makes the tool what it is, in hex. */
export function hashDefinition(definition: ToolDefinition): string {
  return sha256Hex(canonicalJson(definition));
}

/**
 * What an approval is bound to, in 32 bytes. Throws AppError ARGUMENTS_TOO_LARGE over 16 KiB of canonical arguments, and
 * CANONICAL_JSON_INVALID.
 */
export function approvalDigest(subject: ApprovalSubject): Buffer {
  return digestOf({ kind: 'steward.approval.v1', requestId: subject.requestId, ...toIdentity(subject) });
}

/** The same without the request's id: two requests of one identity ask for the same thing. Throws like `approvalDigest`. */
export function approvalIdentity(subject: Omit<ApprovalSubject, 'requestId'>): Buffer {
  return digestOf({ kind: 'steward.approval-identity.v1', ...toIdentity(subject) });
}

/** Field by field, so that what a caller's object carries besides does not count. */
function toIdentity(subject: Omit<ApprovalSubject, 'requestId'>) {
  const { requester, room } = subject;
  if (Buffer.byteLength(canonicalJson(subject.arguments)) > MAX_ARGUMENT_BYTES) {
    throw new AppError('ARGUMENTS_TOO_LARGE', `the arguments of a call hold at most ${MAX_ARGUMENT_BYTES} bytes`, {
      retryable: false,
    });
  }
  return {
    definitionHash: subject.definitionHash,
    arguments: subject.arguments,
    requester: { corpId: requester.corpId, staffId: requester.staffId },
    room: { robotCode: room.robotCode, conversationId: room.conversationId },
    robot: subject.robot,
    environment: subject.environment,
  };
}

function digestOf(value: unknown): Buffer {
  return createHash('sha256').update(canonicalJson(value), 'utf8').digest();
}
