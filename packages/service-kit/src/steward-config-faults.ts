import { isPrivateHost } from './private-host.ts';

/** What is wrong and where. The text never holds a value of the file. */
export type ConfigFault = { path: readonly (string | number)[]; text: string };

type Environment = 'test' | 'production';
type NamedPerEnvironment = { name: string; environments: readonly Environment[] };
type CheckedConfig = {
  dingtalk: { apiUrl: string; oapiUrl: string; sessionWebhookHosts: readonly string[] };
  robots: readonly { code: string; name: string; environment: Environment }[];
  customRobots: readonly { name: string; environment: Environment }[];
  rooms: readonly { id: string; name: string; robot: string; environment: Environment }[];
  people: readonly { corpId: string; staffId: string }[];
  tools: {
    hosts: readonly NamedPerEnvironment[];
    secrets: readonly NamedPerEnvironment[];
    prometheus: readonly { environment: Environment }[];
  };
  governance: {
    approvalsRooms: readonly string[];
    checkpointRoom?: string | undefined;
    calendar: readonly { from: string; to: string }[];
    deputies: readonly { corpId: string; absent: string; deputy: string; from: string; to: string }[];
    directory?: { robot: string } | undefined;
  };
  operations: { rooms: readonly string[] };
  model?: { baseUrl: string } | undefined;
};

/** The faults no single field shows: duplicates, rooms of a foreign environment, targets unfit for production. Pure. */
export function findConfigFaults(config: CheckedConfig): ConfigFault[] {
  return [
    ...findDuplicates(config),
    ...findRoomFaults(config),
    ...findAddressFaults(config),
    ...findGovernanceFaults(config),
  ];
}

function findDuplicates({ robots, customRobots, rooms, people, tools }: CheckedConfig): ConfigFault[] {
  return [
    ...repeated('robots', 'code', robots, (robot) => robot.code),
    ...repeated('robots', 'name', robots, (robot) => robot.name),
    ...repeated('customRobots', 'name', customRobots, (robot) => robot.name),
    ...repeated('rooms', 'name', rooms, (room) => room.name),
    // Two robots may stand in one group; each has its own line.
    ...repeated('rooms', 'id', rooms, (room) => `${room.robot} ${room.id}`),
    // The same person id exists in every organisation anew.
    ...repeated('people', 'staffId', people, (person) => `${person.corpId} ${person.staffId}`),
    ...repeatedNames(['tools', 'hosts'], tools.hosts),
    ...repeatedNames(['tools', 'secrets'], tools.secrets),
    ...repeatedIn(['tools', 'prometheus'], 'environment', tools.prometheus, (server) => server.environment),
  ];
}

function repeated<T>(list: string, field: string, entries: readonly T[], keyOf: (entry: T) => string): ConfigFault[] {
  return repeatedIn([list], field, entries, keyOf);
}

function repeatedIn<T>(
  list: readonly string[],
  field: string,
  entries: readonly T[],
  keyOf: (entry: T) => string,
): ConfigFault[] {
  const firstAt = new Map<string, number>();
  return entries.flatMap((entry, at) => {
    const first = firstAt.get(keyOf(entry));
    if (first !== undefined)
      return [{ path: [...list, at, field], text: `is the same as in ${list.join('.')}.${first}` }];
    firstAt.set(keyOf(entry), at);
    return [];
  });
}

/** A name may stand for another address or secret in the other environment, but for one thing in each. */
function repeatedNames(list: readonly string[], entries: readonly NamedPerEnvironment[]): ConfigFault[] {
  return entries.flatMap(({ name, environments }, at) => {
    const isSame = (other: NamedPerEnvironment) =>
      other.name === name && other.environments.some((environment) => environments.includes(environment));
    const first = entries.findIndex(isSame);
    return first < at ? [{ path: [...list, at, 'name'], text: `is the same as in ${list.join('.')}.${first}` }] : [];
  });
}

function findRoomFaults({ robots, rooms }: CheckedConfig): ConfigFault[] {
  const environmentOfRoom = new Map<string, Environment>();
  return rooms.flatMap((room, at) => {
    const faults: ConfigFault[] = [];
    const known = environmentOfRoom.get(room.id) ?? room.environment;
    environmentOfRoom.set(room.id, known);
    if (known !== room.environment) {
      faults.push({ path: ['rooms', at, 'environment'], text: 'this conversation is in the other environment above' });
    }
    const robot = robots.find(({ name }) => name === room.robot);
    if (robot === undefined) faults.push({ path: ['rooms', at, 'robot'], text: 'no robot has this name' });
    else if (robot.environment !== room.environment) {
      faults.push({ path: ['rooms', at, 'environment'], text: "differs from its robot's environment" });
    }
    return faults;
  });
}

/** Rooms and robots that are named must exist, one approvals room for each environment, windows that end after they begin. */
function findGovernanceFaults({ robots, rooms, people, governance, operations }: CheckedConfig): ConfigFault[] {
  const { approvalsRooms, checkpointRoom, calendar, deputies, directory } = governance;
  const isKnown = (corpId: string, staffId: string) =>
    people.some((person) => person.corpId === corpId && person.staffId === staffId);
  const environmentOf = (room: string) => rooms.find(({ name }) => name === room)?.environment;
  const onePerEnvironment = (names: readonly string[], key: string[], what: string) => {
    const environments = names.map(environmentOf);
    return names.flatMap((room, at) => {
      const path = [...key, at];
      if (environmentOf(room) === undefined) return [{ path, text: 'no room has this name' }];
      return environments.indexOf(environments[at]) < at
        ? [{ path, text: `this environment has an ${what} room already` }]
        : [];
    });
  };
  return [
    ...onePerEnvironment(approvalsRooms, ['governance', 'approvalsRooms'], 'approvals'),
    ...onePerEnvironment(operations.rooms, ['operations', 'rooms'], 'operations'),
    ...(checkpointRoom !== undefined && environmentOf(checkpointRoom) === undefined
      ? [{ path: ['governance', 'checkpointRoom'], text: 'no room has this name' }]
      : []),
    ...calendar.flatMap(({ from, to }, at) =>
      Date.parse(to) > Date.parse(from)
        ? []
        : [{ path: ['governance', 'calendar', at, 'to'], text: 'must be after `from`' }],
    ),
    ...deputies.flatMap((entry, at) => {
      const fault = (field: string, text: string) => [{ path: ['governance', 'deputies', at, field], text }];
      if (!isKnown(entry.corpId, entry.absent)) return fault('absent', 'nobody in people has this staffId');
      if (!isKnown(entry.corpId, entry.deputy)) return fault('deputy', 'nobody in people has this staffId');
      return Date.parse(entry.to) > Date.parse(entry.from) ? [] : fault('to', 'must be after `from`');
    }),
    ...(directory !== undefined && !robots.some(({ name }) => name === directory.robot)
      ? [{ path: ['governance', 'directory', 'robot'], text: 'no robot has this name' }]
      : []),
  ];
}

function findAddressFaults({ dingtalk, robots, customRobots, model }: CheckedConfig): ConfigFault[] {
  const isProduction = [...robots, ...customRobots].some((robot) => robot.environment === 'production');
  const dingtalkAddresses = [
    { path: ['dingtalk', 'apiUrl'], url: dingtalk.apiUrl },
    { path: ['dingtalk', 'oapiUrl'], url: dingtalk.oapiUrl },
    ...dingtalk.sessionWebhookHosts.map((host, at) => ({
      path: ['dingtalk', 'sessionWebhookHosts', at],
      url: `https://${host}`,
    })),
  ];
  return [
    ...findPortFaults(dingtalk),
    ...dingtalkAddresses.flatMap(({ path, url }) => findFaultsOfUrl(path, url, isProduction, 'dingtalk')),
    ...(model === undefined ? [] : findFaultsOfUrl(['model', 'baseUrl'], model.baseUrl, isProduction, 'model')),
  ];
}

/** A reply address with a port is never called over https, so such a host could never be answered. */
function findPortFaults({ oapiUrl, sessionWebhookHosts }: CheckedConfig['dingtalk']): ConfigFault[] {
  if (!oapiUrl.startsWith('https:')) return [];
  return sessionWebhookHosts.flatMap((host, at) =>
    /:\d+$/.test(host)
      ? [{ path: ['dingtalk', 'sessionWebhookHosts', at], text: 'must have no port while oapiUrl is https' }]
      : [],
  );
}

function findFaultsOfUrl(
  path: (string | number)[],
  address: string,
  isProduction: boolean,
  target: 'dingtalk' | 'model',
): ConfigFault[] {
  if (!URL.canParse(address)) return [{ path, text: 'is not a usable address' }];
  const { protocol, hostname, username, password } = new URL(address);
  if (username !== '' || password !== '') return [{ path, text: 'must not carry a user or password' }];
  if (!isProduction) return [];
  const isPrivate = isPrivateHost(hostname);
  // A model on the own network is a normal thing and talks plain http; DingTalk never does.
  if (target === 'model') {
    return protocol === 'http:' && !isPrivate ? [{ path, text: 'plain http leaves the own network; use https' }] : [];
  }
  const why = 'is for test robots only, and a robot of environment production exists';
  const plain = protocol === 'http:' ? [{ path, text: `plain http ${why}` }] : [];
  return isPrivate ? [...plain, { path, text: `a loopback or private address ${why}` }] : plain;
}
