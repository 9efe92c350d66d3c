import { describe, expect, it } from '@jest/globals';
import { findLeaks } from './find-leaks.ts';

describe('the search for leaked secrets', () => {
  const secrets = [
    { kind: 'app secret', text: 'a1b2c3d4e5f6' },
    { kind: 'server password', text: ':s3cr3t-word@' },
  ];

  it('finds none in clean text', () => {
    expect(
      findLeaks([{ place: 'log', text: '{"event":"turn.ended","url":"amqp://u:[redacted]@mq"}' }], secrets),
    ).toEqual([]);
  });

  it('names the kind of each secret that stands there, and never the secret', () => {
    expect(
      findLeaks([{ place: 'log', text: '{"url":"amqp://u:s3cr3t-word@mq","x":"a1b2c3d4e5f6"}' }], secrets),
    ).toEqual(['app secret in log', 'server password in log']);
  });
});
