export type { Bus, BusHandler, ConsumeOptions, DeadDelivery, Delivery, PublishOutcome } from './bus.ts';
export { closeTimeoutMs, deadCodes, defaultPrefetch, maxBodyBytes } from './bus.ts';
export { createInProcessBus, type DeadLetter, type InProcessBus } from './in-process-bus.ts';
export { createRabbitBus, type RabbitBusOptions } from './rabbit-bus.ts';
export { deadCodeHeader } from './rabbit-publisher.ts';
export { windowSize } from './confirm-window.ts';
