export { createSimulator } from './simulator.ts';
export type { Simulator, SimulatorOptions } from './simulator.ts';
export { ControlError } from './control-errors.ts';
export type { SimulatorControl } from './control.ts';
export { buildDefaultFaults } from './faults.ts';
export type { Faults, FaultsPatch } from './faults.ts';
export { roleIdOf, singleChatId, worldSchema } from './world.ts';
export type {
  SimulatorApp,
  SimulatorCustomRobot,
  SimulatorPerson,
  SimulatorRoom,
  SimulatorService,
  SimulatorWorld,
} from './world.ts';
export type {
  Attempt,
  AttemptOutcome,
  CallRecord,
  CardRecord,
  CardSpaceRecord,
  CardVersion,
  ChatRecord,
  EffectRecord,
  PushRecord,
} from './records.ts';
export type { Delivered } from './push-course.ts';
export type { ConnectionRow, DisconnectMode } from './stream-connections.ts';
export type { SimulatorLog } from './simulation.ts';
export { variantNames } from './payload-variants.ts';
export type { PayloadVariant } from './payload-variants.ts';
