import type { StewardConfig } from '@steward/service-kit';
import type { Egress } from './egress.ts';
import { createListRooms, createRecallMessage, createSendToGroup } from './outbound-tools.ts';
import { createQueryAudit, type ReadRoomEntries } from './query-audit.ts';
import { createQueryPrometheus } from './query-prometheus.ts';
import type { Tool } from './tool.ts';

/**
 * The tools that every installation has, so that policies may name them: each is judged like any other. What is not configured
 * (Prometheus) is there all the same, in no environment. AppErrors TOOLS_INVALID and SECRET_MISSING, as the tools say.
 */
export function createBuiltinTools(o: {
  config: StewardConfig;
  egress: Egress;
  readSecret: (name: string) => string;
  readRoomEntries: ReadRoomEntries;
  now: () => Date;
}): readonly Tool[] {
  const { config, egress, readSecret, readRoomEntries, now } = o;
  return [
    createSendToGroup({ config }),
    createListRooms({ config }),
    createRecallMessage(),
    createQueryPrometheus({ servers: config.tools.prometheus, readSecret, egress }),
    createQueryAudit({ readRoomEntries, timeZone: config.timeZone, now }),
  ];
}
