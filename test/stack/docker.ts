import { execFile } from 'node:child_process';
import path from 'node:path';

export const root = path.join(import.meta.dirname, '..', '..');

/**
 * Runs a program in the project's folder, without a shell. Resolves with what it printed; rejects with its last lines
 * when it exits with anything but 0 or takes longer than `timeoutMs`.
 */
export function run(
  command: string,
  args: readonly string[],
  o: { env?: Record<string, string>; timeoutMs?: number; input?: string } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const limits = { timeout: o.timeoutMs ?? 60_000, maxBuffer: 64 * 1024 * 1024 };
    const child = execFile(
      command,
      args,
      { cwd: root, env: { ...process.env, ...o.env }, ...limits },
      (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        const shown = `${stdout}\n${stderr}`.trimEnd().split('\n').slice(-25).join('\n');
        reject(
          new Error(
            `${command} ${args.slice(0, 6).join(' ')} failed (${String(error.code ?? error.signal)}):\n${shown}`,
            { cause: error },
          ),
        );
      },
    );
    child.stdin?.end(o.input);
  });
}

/** What the tests read of `docker inspect`. */
export type Container = {
  Id: string;
  Name: string;
  Config: { User: string; Labels: Record<string, string> };
  State: { Status: string; StartedAt: string; ExitCode: number; Health?: { Status: string } };
  HostConfig: {
    ReadonlyRootfs: boolean;
    CapDrop: string[] | null;
    CapAdd: string[] | null;
    SecurityOpt: string[] | null;
    Privileged: boolean;
    Memory: number;
    PidsLimit: number | null;
    RestartPolicy: { Name: string };
    Init: boolean | null;
    PortBindings: Record<string, { HostIp: string; HostPort: string }[]> | null;
  };
  NetworkSettings: { Networks: Record<string, unknown> };
};

/** The compose service of a container. */
export function serviceOf(container: Container): string {
  return container.Config.Labels['com.docker.compose.service'] ?? '';
}

export async function inspectContainers(ids: readonly string[]): Promise<Container[]> {
  return JSON.parse(await run('docker', ['inspect', ...ids])) as Container[];
}

/** The address of this machine in a network of the engine. */
export async function gatewayOf(name: string): Promise<string> {
  return (await run('docker', ['network', 'inspect', '--format', '{{(index .IPAM.Config 0).Gateway}}', name])).trim();
}
