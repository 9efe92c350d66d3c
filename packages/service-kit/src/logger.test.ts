import { describe, expect, it } from '@jest/globals';
import { AppError, createLogger, describeError, isRetryable, type LogLevel } from './index.ts';

function createProbe(level?: LogLevel) {
  const lines: string[] = [];
  const log = createLogger({ service: 'probe', level, write: (line) => lines.push(line) });
  return { log, lines, parsed: () => lines.map((line): unknown => JSON.parse(line)) };
}

describe('createLogger', () => {
  it('writes one JSON object a line, with time, level, service, event and the fields', () => {
    const { log, parsed } = createProbe();
    log.child({ correlationId: 'c1' }).warn('inbound.received', { n: 1 });
    expect(parsed()).toEqual([
      {
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        level: 'warn',
        service: 'probe',
        event: 'inbound.received',
        correlationId: 'c1',
        n: 1,
      },
    ]);
  });

  it('leaves out what is below its level', () => {
    const { log, lines } = createProbe('warn');
    log.debug('a');
    log.info('a');
    log.warn('a');
    log.error('a');
    expect(lines).toHaveLength(2);
  });

  it('lets no field pose as the line itself', () => {
    const { log, parsed } = createProbe();
    log.info('real', { level: 'error', service: 'other', event: 'forged', time: 'never' });
    expect(parsed()).toEqual([
      expect.objectContaining({ level: 'info', service: 'probe', event: 'real', field_event: 'forged' }),
    ]);
  });

  it('keeps a forged second line inside the first', () => {
    const { log, lines } = createProbe();
    log.info('a\n{"event":"forged"}', { text: 'x\r\n{"event":"forged"}\u2028\u2029\u0085\u202e' });
    expect(lines).toHaveLength(1);
    // eslint's own rule would ask for escapes here, which is what this line is made of.
    expect(lines[0]).not.toMatch(/[\r\n\u0085\u2028\u2029\u202e]/);
  });

  it('goes on when the writer throws, and takes fields that were frozen or cannot be read', () => {
    const failing = createLogger({
      service: 'probe',
      write: () => {
        throw new Error('pipe closed');
      },
    });
    failing.info('a');
    failing.info('b');
    const { log, lines } = createProbe();
    const hostile = new Proxy<Record<string, unknown>>(
      {},
      {
        ownKeys: () => {
          throw new Error('no');
        },
      },
    );
    log
      .child(Object.freeze({ a: 1 }))
      .child(hostile)
      .info('c', Object.freeze({ a: 2 }));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('"a":2');
  });

  it('writes the lines in order, however many come at once', () => {
    const { log, parsed } = createProbe();
    for (let n = 0; n < 500; n += 1) log.info('a', { n });
    expect(parsed().map((line) => (line as { n: number }).n)).toEqual(Array.from({ length: 500 }, (_, n) => n));
  });
});

describe('AppError', () => {
  it('says whether trying again can help, and anything else is assumed to pass', () => {
    expect(isRetryable(new AppError('A', 'a', { retryable: false }))).toBe(false);
    expect(isRetryable(new AppError('A', 'a', { retryable: true }))).toBe(true);
    expect(isRetryable(new Error('a'))).toBe(true);
    expect(isRetryable('a')).toBe(true);
  });

  it('is described with code, text, cause and details, redacted', () => {
    const cause = Object.assign(new Error('connect amqp://u:hunter2hunter2@mq refused'), { code: 'ECONNREFUSED' });
    const error = new AppError('BUS_DOWN', 'the bus is down', {
      retryable: true,
      cause,
      details: { token: 'abc', n: 1 },
    });
    expect(describeError(error)).toMatchObject({
      code: 'BUS_DOWN',
      text: 'the bus is down',
      retryable: true,
      details: { token: '[redacted]', n: 1 },
      cause: { code: 'ECONNREFUSED', message: 'connect amqp://u:[redacted]@mq refused' },
    });
  });

  it.each([undefined, null, 'text', 42, { a: 1 }, Symbol('s'), () => 1, Object.create(null)])(
    'describes the thrown value %p without throwing',
    (thrown: unknown) => {
      expect(describeError(thrown)).toEqual({ code: 'UNKNOWN', text: expect.any(String), retryable: true });
    },
  );

  it('describes an error that cannot be read', () => {
    const hostile = Object.defineProperty(new Error('x'), 'message', {
      get() {
        throw new Error('no');
      },
    });
    expect(describeError(hostile)).toMatchObject({ code: 'UNKNOWN', retryable: true });
  });
});
