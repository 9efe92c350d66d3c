import { Writable } from 'node:stream';
import winston from 'winston';
import { redact } from './redact.ts';

/** What a log line says beside its name; redacted before it is written. */
export type LogFields = Record<string, unknown>;

/** One wide line for each unit of work, named in the vocabulary (`inbound.received`). No call ever throws. */
export type Logger = {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** The same logger with these fields on every line. */
  child(fields: LogFields): Logger;
};

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
type LogEntry = { level: LogLevel; event: string; fields: readonly LogFields[] };

/** Control and direction characters that JSON leaves alone and that can break or disguise a line in a terminal. */
const UNSAFE = new RegExp(`[${['007f-009f', '2028-202e', '2066-2069', 'feff'].map(toRange).join('')}]`, 'g');

function toRange(range: string): string {
  return range
    .split('-')
    .map((hex) => `\\u${hex}`)
    .join('-');
}

/**
 * The one logger: winston, one JSON object a line (`time`, `level`, `service`, `event`, then the fields), redacted.
 * `level` is the lowest level written (default info); `write` takes one line without its end (default: standard output).
 */
export function createLogger(options: { service: string; level?: LogLevel; write?: (line: string) => void }): Logger {
  const write = options.write ?? createStandardOutput();
  const sink = winston.createLogger({
    level: options.level ?? 'info',
    format: renderFormat(options.service),
  });
  sink.pipe(createLineStream(write));
  return toLogger(sink, []);
}

function toLogger(sink: winston.Logger, inherited: readonly LogFields[]): Logger {
  const writeAt =
    (level: LogLevel) =>
    (event: string, fields?: LogFields): void => {
      if (!sink.isLevelEnabled(level)) return;
      const entry: LogEntry = { level, event, fields: fields === undefined ? inherited : [...inherited, fields] };
      sink.log({ level, message: '', entry });
    };
  return {
    debug: writeAt('debug'),
    info: writeAt('info'),
    warn: writeAt('warn'),
    error: writeAt('error'),
    child: (fields) => toLogger(sink, [...inherited, fields]),
  };
}

/** Where winston keeps the rendered line of a record. */
const LINE = Symbol.for('message');

function renderFormat(service: string): winston.Logform.Format {
  return winston.format((record) => {
    record[LINE] = renderLine(service, record['entry'] as LogEntry); // only `writeAt` above fills this
    return record;
  })();
}

function renderLine(service: string, { level, event, fields }: LogEntry): string {
  const time = new Date().toISOString();
  try {
    const shown = withoutOurs(Object.assign({}, ...fields.map(cleanFields)) as LogFields);
    return JSON.stringify({ time, level, service, event: redact(event), ...shown }).replace(UNSAFE, escapeCharacter);
  } catch {
    return JSON.stringify({ time, level, service, event: 'log.unreadable' });
  }
}

function cleanFields(fields: LogFields): LogFields {
  const clean = redact(fields);
  return typeof clean === 'object' && clean !== null ? { ...clean } : { fields: clean };
}

/** A field may not pose as the line's own time, level, service or event. */
function withoutOurs({ time, level, service, event, ...others }: LogFields): LogFields {
  const posing = Object.entries({ time, level, service, event }).filter(([, value]) => value !== undefined);
  return { ...others, ...Object.fromEntries(posing.map(([name, value]) => [`field_${name}`, value])) };
}

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function createLineStream(write: (line: string) => void): Writable {
  return new Writable({
    objectMode: true,
    write(record: Record<symbol, unknown>, _encoding, done) {
      try {
        write(String(record[LINE]));
      } catch {
        // A logger that cannot write must not stop the service; there is nowhere left to say so.
      }
      done();
    },
  });
}

/** A closed pipe (the reader of our output went away) raises an error on the stream, which would end the program. */
function createStandardOutput(): (line: string) => void {
  if (!process.stdout.listeners('error').includes(ignore)) process.stdout.on('error', ignore);
  return (line) => process.stdout.write(`${line}\n`);
}

function ignore(): void {
  // See createStandardOutput.
}
