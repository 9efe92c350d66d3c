import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { loadConfig, type ConfigOptions } from './load-config.ts';
import { renderTable } from './render-table.ts';

export type DirectoryOptions = ConfigOptions & { json?: boolean };

/** `rooms list`: the rooms of the configuration. */
export function listRooms(context: CliContext, options: DirectoryOptions): ExitCode {
  const { rooms, governance } = loadConfig(context, options);
  if (options.json === true) context.print(JSON.stringify(rooms, null, 2));
  else {
    const isFor = (name: string) => (governance.approvalsRooms.includes(name) ? 'yes' : null);
    const rows = rooms.map(({ name, environment, robot, id }) => [name, environment, robot, isFor(name), id]);
    renderTable(['NAME', 'ENVIRONMENT', 'ROBOT', 'APPROVALS', 'ID'], rows).forEach(context.print);
  }
  return exitCodes.done;
}

/** `people list`: the people of the configuration, their roles, and who can sign at the command line. */
export function listPeople(context: CliContext, options: DirectoryOptions): ExitCode {
  const { people } = loadConfig(context, options);
  if (options.json === true) context.print(JSON.stringify(people, null, 2));
  else {
    const rows = people.map(({ name, staffId, corpId, roles, operatorKey }) => [
      ...[name, staffId, corpId, operatorKey === undefined ? null : 'yes'],
      roles.join(' '),
    ]);
    renderTable(['NAME', 'STAFF ID', 'ORGANISATION', 'KEY', 'ROLES'], rows).forEach(context.print);
  }
  return exitCodes.done;
}
