import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { prettifyError } from 'zod';
import { createSimulator } from './simulator.ts';
import { worldSchema } from './world.ts';

const USAGE =
  'usage: main.ts serve --world file.json [--host 127.0.0.1] [--port 8090] [--public-url http://name:8090]\n';

/** `serve`: runs until SIGTERM or SIGINT; prints one JSON line with the URL once it listens. */
async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      host: { type: 'string', default: '127.0.0.1' },
      port: { type: 'string', default: '8090' },
      world: { type: 'string' },
      'public-url': { type: 'string' },
    },
  });
  if (positionals[0] !== 'serve' || values.world === undefined) fail(USAGE);
  const world = worldSchema.safeParse(JSON.parse(readFileSync(values.world, 'utf8')));
  if (!world.success) fail(`${values.world}:\n${prettifyError(world.error)}\n`);
  const simulator = await createSimulator({
    world: world.data,
    host: values.host,
    port: Number(values.port),
    publicUrl: values['public-url'],
    log: { warn: (event, fields) => process.stderr.write(`${JSON.stringify({ event, ...fields })}\n`) },
  });
  process.stdout.write(`${JSON.stringify({ event: 'simulator.listening', url: simulator.url })}\n`);
  const stop = (): void => void simulator.close().then(() => process.exit(0));
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

function fail(text: string): never {
  process.stderr.write(text);
  process.exit(2);
}

await main();
