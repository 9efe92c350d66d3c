import { type ServiceName, deadExchangeName, deadQueueName, exchangeOf, publishers, queues } from './topology.ts';

/**
 * Who may do what, in Postgres and on RabbitMQ. This is the one place: the database is made equal to it after the migrations
 * (`packages/postgres/src/apply-privileges.ts`), the broker's definitions are rendered from it (`packages/stack-setup`), and
 * `privileges.pg.test.ts` and `privileges.mq.test.ts` try it both ways. What is not named here is refused.
 */

/**
 * The rights of one role. `schemas`: whose objects it may name (USAGE). `tables`: verbs as GRANT takes them, with the columns in
 * parentheses where not all are meant. `functions`: all of that name. FOR UPDATE and FOR SHARE ask for `update` of any column.
 */
export type DatabasePrivileges = {
  schemas: readonly string[];
  tables: Readonly<Record<string, string>>;
  functions: readonly string[];
};

/** The rest of an entry is the database's: its time, its transaction, its epoch. */
const addsAuditEntries = {
  'audit.entry':
    'insert (id, service, kind, outcome, correlation_id, environment, robot_code, conversation_id, actor_staff_id, ' +
    'actor_corp_id, subject_id, detail, actor_role, door, digest, policy_hash, model, prompt_hash, detail_hash)',
  'audit.detail': 'insert (entry_id, salt, body)',
  // To refuse to start on a database that is behind.
  'migration.kysely_migration': 'select',
} as const;

const answersOperators = 'select, update (answered_at, answer, claimed_until)';
const asksServices = 'select, insert (id, verb, body, asked_by)';

/** What whoever looks on may see: no bodies. */
const opsViews = {
  'ops.api_calls': 'select',
  'ops.approvals': 'select',
  'ops.dead': 'select',
  'ops.deliveries': 'select',
  'ops.delivery_attempts': 'select',
  'ops.duplicates': 'select',
  'ops.recent': 'select',
  'ops.sealing': 'select',
  'ops.stream_gaps': 'select',
  'ops.tool_calls': 'select',
  'ops.unknown': 'select',
} as const;
const opsFunctions = ['ops.find_correlation', 'ops.seconds_since_seal', 'ops.trace'] as const;

/** steward_owner has no entry: it owns everything and only migrates. */
export const databasePrivileges = {
  steward_adapter: {
    schemas: ['adapter', 'audit', 'migration'],
    tables: {
      ...addsAuditEntries,
      'adapter.conversation_counter': 'select, insert, update',
      'adapter.dead_letter': 'select, insert, update',
      'adapter.inbound_event': 'select, insert, update',
      'adapter.operator_request': answersOperators,
      'adapter.outbox': 'select, insert, update, delete',
      'adapter.security_finding': 'select, insert, update',
      'adapter.stream_gap': 'select, insert',
      'adapter.stream_link': 'select, insert, update, delete',
    },
    functions: ['adapter.record_inbound', 'adapter.retire_events', 'adapter.retire_findings'],
  },
  steward_agent_core: {
    schemas: ['agent_core', 'audit', 'migration', 'ops'],
    tables: {
      ...addsAuditEntries,
      'agent_core.active_policy': 'select, insert, update',
      'agent_core.approval_place': 'select, insert, update (out_track_id, last_outbound_id)',
      'agent_core.approval_request':
        'select, insert, update (status, run_by, remind_at, end_reason, decided_at, ended_at)',
      'agent_core.approval_shown': 'select, insert',
      'agent_core.approval_vote': 'select, insert',
      'agent_core.break_glass':
        'select, insert, update (reviewed_by_corp_id, reviewed_by_staff_id, review_note, reviewed_at)',
      'agent_core.card_click': 'select, insert, update (decided_at, outcome, claimed_until)',
      'agent_core.checkpoint_told': 'select, insert',
      'agent_core.conversation': 'select, insert, update',
      'agent_core.dead_letter': 'select, insert, update',
      'agent_core.directory_person': 'select, insert, update',
      'agent_core.freeze': 'select, update (frozen, changed_by, reason, changed_at)',
      'agent_core.inbox': 'select, insert',
      'agent_core.operator_request': answersOperators,
      'agent_core.outbound_tail': 'select, insert, update',
      'agent_core.outbox': 'select, insert, update, delete',
      'agent_core.quota_told': 'select, insert',
      'agent_core.step': 'select, insert',
      'agent_core.tool_attempt': 'select, insert, update (outcome, code, duration_ms, closed_at)',
      'agent_core.tool_budget': 'select, insert, update',
      'agent_core.tool_call': 'select, insert, update (status, code, result, ended_at)',
      'agent_core.tool_call_resolution': 'select, insert',
      'agent_core.tool_grant': 'select, insert, update (consumed_at)',
      'agent_core.transcript': 'select, insert, update (text)',
      'agent_core.turn': 'select, insert, update',
      'agent_core.unknown_notice': 'select, insert',
      'agent_core.unknown_told': 'select, insert',
      'ops.api_calls': 'select',
      'ops.unknown': 'select',
    },
    functions: [
      // Called by the triggers of its tables, which work with its rights.
      'agent_core.is_approved',
      'agent_core.refuse_approval',
      'agent_core.retire_inbox',
      'audit.newest_checkpoint',
      'audit.record_policy',
      'audit.seconds_since_seal',
      'ops.count_received',
      'ops.room_entries',
    ],
  },
  steward_outbound_sender: {
    schemas: ['outbound_sender', 'audit', 'migration', 'ops'],
    tables: {
      ...addsAuditEntries,
      'outbound_sender.dead_letter': 'select, insert, update',
      'outbound_sender.delivery_attempt': 'select, insert, update',
      'outbound_sender.inbox': 'select, insert',
      'outbound_sender.operator_request': answersOperators,
      'outbound_sender.outbound_message': 'select, insert, update',
      'outbound_sender.outbound_resolution': 'select, insert',
      'outbound_sender.outbox': 'select, insert, update, delete',
      'outbound_sender.person_lookup': 'select, insert, update, delete',
      'outbound_sender.quota_use': 'select, insert, update',
      'outbound_sender.send_budget': 'select, insert, update',
    },
    functions: ['outbound_sender.admit', 'outbound_sender.retire_inbox', 'ops.is_effect_of_call'],
  },
  steward_sealer: {
    schemas: ['audit', 'migration'],
    tables: {
      'audit.entry': `select, ${addsAuditEntries['audit.entry']}`,
      'audit.detail': addsAuditEntries['audit.detail'],
      'audit.entry_default': 'select',
      'audit.epoch': 'select',
      'audit.block': 'select, insert',
      'audit.block_leaves': 'select, insert',
      // To lock it: a trigger refuses an actual update.
      'audit.sealer': 'select, update (only_one)',
      'migration.kysely_migration': 'select',
    },
    functions: ['audit.ensure_partitions', 'audit.newest_checkpoint', 'audit.seconds_since_seal', 'audit.utc_text'],
  },
  steward_operator: {
    schemas: ['adapter', 'agent_core', 'outbound_sender', 'audit', 'migration', 'ops'],
    tables: {
      ...opsViews,
      'ops.dead_content': 'select',
      'ops.outbound_content': 'select',
      'adapter.operator_request': asksServices,
      'agent_core.operator_request': asksServices,
      'outbound_sender.operator_request': asksServices,
      'agent_core.approval_request': 'select',
      'agent_core.approval_vote': 'select',
      'agent_core.freeze': 'select',
      'agent_core.tool_call': 'select',
      'audit.block': 'select',
      'audit.block_leaves': 'select',
      'audit.detail': 'select',
      'audit.entry': 'select',
      'audit.epoch': 'select',
      'audit.partition': 'select',
      'audit.policy_text': 'select',
      'audit.retirement': 'select',
      'audit.retirement_entry': 'select',
      'migration.kysely_migration': 'select',
    },
    functions: [
      ...opsFunctions,
      'ops.room_entries',
      'audit.erase_detail',
      'audit.newest_checkpoint',
      'audit.retire_partition',
      'audit.seconds_since_seal',
      'audit.utc_text',
    ],
  },
  ops_reader: { schemas: ['ops'], tables: opsViews, functions: opsFunctions },
} as const satisfies Record<string, DatabasePrivileges>;

export type DatabaseRole = keyof typeof databasePrivileges;
export const databaseRoles = Object.keys(databasePrivileges) as DatabaseRole[];

/** Tables and functions that are for the owner alone, and for what its triggers and functions do. */
export const ownerOnly = {
  tables: ['audit.entry_history', 'migration.kysely_migration_lock'],
  functions: [
    'adapter.first_id_of',
    'agent_core.check_attempt',
    'agent_core.check_call',
    'agent_core.check_freeze',
    'agent_core.check_glass',
    'agent_core.check_grant',
    'agent_core.check_request',
    'agent_core.check_resolution',
    'agent_core.check_vote',
    'audit.begin_epoch',
    'audit.check_block',
    'audit.check_detail',
    'audit.guard_partition',
    'audit.refuse_change',
    'audit.sign_entry',
    'outbound_sender.check_attempt_path',
  ],
} as const;

/** One verb on one table: all of its columns, or these. */
export type TableVerb = { verb: string; columns: readonly string[] | null };

/** Reads `select, insert (id, verb)`. Pure. */
export function readVerbs(text: string): TableVerb[] {
  return [...text.matchAll(/(\w+)(?:\s*\(([^)]*)\))?/g)].map(([, verb = '', columns]) => ({
    verb,
    columns: columns === undefined ? null : columns.split(',').map((column) => column.trim()),
  }));
}

/* --- RabbitMQ: what follows from the topology --- */

/** Every service on the bus, as the topology knows them. */
export const busServices = [
  ...new Set<ServiceName>([...queues.map((queue) => queue.consumer), ...Object.values(publishers)]),
];

/** The exchanges and queues that one account may declare (or delete), publish to or bind, and read or bind from. */
export type BusPrivileges = { configure: string[]; write: string[]; read: string[] };

/**
 * The least a service needs to declare, bind, consume and publish what the topology gives it. It makes the exchanges that its
 * queues are bound to as well, because whoever starts first on an empty broker needs them; only their publisher writes to them.
 * What RabbitMQ asks for: binding a queue needs `write` on it and `read` on the exchange; naming a dead-letter exchange needs
 * `read` on the queue and `write` on that exchange.
 */
export function busPrivilegesOf(service: ServiceName): BusPrivileges {
  const own = queues.filter((queue) => queue.consumer === service);
  const ownQueues = own.flatMap(({ name }) => [name, deadQueueName(name)]);
  const heard = [...new Set(own.flatMap(({ types }) => types.map((type) => exchangeOf(publishers[type]))))];
  return {
    configure: [exchangeOf(service), ...heard, deadExchangeName, ...ownQueues],
    write: [exchangeOf(service), deadExchangeName, ...ownQueues],
    read: [...heard, deadExchangeName, ...ownQueues],
  };
}

/** The same as the regular expressions that RabbitMQ matches names with (docs/access-control). */
export function busPermissionOf(service: ServiceName): Record<keyof BusPrivileges, string> {
  const { configure, write, read } = busPrivilegesOf(service);
  return { configure: exactly(configure), write: exactly(write), read: exactly(read) };
}

function exactly(names: readonly string[]): string {
  return `^(${names.map((name) => name.replaceAll('.', '\\.')).join('|')})$`;
}
