import { describe, expect, it } from '@jest/globals';
import { findLeaks } from './check-secrets.ts';

describe('the search for leaked secrets', () => {
  const secrets = [
    { kind: 'app secret', text: 'a1b2c3d4e5f6' },
    { kind: 'server password', text: ':s3cr3t@' },
  ];

  it('finds none in clean text', () => {
    expect(findLeaks('{"event":"turn.ended","url":"amqp://u:[redacted]@mq"}', secrets)).toEqual([]);
  });

  it('names the kind of each secret that stands there, and never the secret', () => {
    expect(findLeaks('{"url":"amqp://u:s3cr3t@mq","x":"a1b2c3d4e5f6"}', secrets)).toEqual([
      'app secret',
      'server password',
    ]);
  });
});
