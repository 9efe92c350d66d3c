export * from './envelope.ts';
export * from './inbound.ts';
export * from './link.ts';
export * from './outbound.ts';
export * from './person.ts';
export * from './bus-message.ts';
export * from './privileges.ts';
export * from './topology.ts';
