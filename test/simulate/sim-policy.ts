import { buildPolicy, readPolicyFiles, type Policy } from '@steward/governance';
import { policyFolder } from '../../services/agent-core/src/gate.test-support.ts';
import {
  openPolicyDesk,
  type PolicyDesk,
  type PolicyDeskOptions,
} from '../../services/agent-core/src/gate/policy-desk.ts';
import { toolDefinitions } from './sim-system.ts';

/** How long people have to decide here, and an approved call to begin: short, so that both clocks run out in a short while. */
export const approveWithinMs = 120_000;

let loaded: Policy | undefined;

/** The shipped policies with shorter clocks, parsed once: parsing takes as long as a seed. */
const loadPolicy = (): Policy => (loaded ??= buildPolicy({ files: readFiles(), tools: toolDefinitions }));

const readFiles = () =>
  readPolicyFiles({ folder: policyFolder }).map(({ name, text }) => ({
    name,
    text: text.replaceAll(/@(expires|run_within)\("\d+m"\)/g, `@$1("${approveWithinMs / 1_000}s")`),
  }));

/** The desk of a process, opened when it first judges, and again where that failed: a process that does not start is not played. */
export function createSimDesk(o: Pick<PolicyDeskOptions, 'db' | 'log'>): PolicyDesk {
  let opened: Promise<PolicyDesk> | undefined;
  const open = () =>
    (opened ??= openPolicyDesk({ ...o, tools: toolDefinitions, load: loadPolicy }).catch((error: unknown) => {
      opened = undefined;
      throw error;
    }));
  return {
    current: loadPolicy,
    reload: async () => (await open()).reload(),
    assertActive: async () => (await open()).assertActive(),
    check: () => ({ ok: true, detail: '' }),
  };
}
