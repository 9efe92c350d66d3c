// `<service> health` runs every few seconds in every container: it loads the question alone, not the service.
import path from 'node:path';
import { runService } from '../packages/service-kit/src/run-service.ts';

const name = path.basename(process.argv[1]);
await runService({ name, start: () => Promise.reject(new Error(`${name} health starts nothing`)) });
