import { findAppByKey, findAppOfRobot } from './simulation.ts';
import type { SimulatorApp, SimulatorWorld } from './world.ts';

/** A request of the control API that cannot be met; over HTTP it is a 400 with this text. */
export class ControlError extends Error {}

/** The app with this appKey, robotCode or name. */
export function requireAnyApp(world: SimulatorWorld, name: string): SimulatorApp {
  const app = findAppByKey(world, name) ?? findAppOfRobot(world, name);
  if (app === undefined) throw new ControlError(`no app or robot ${name}`);
  return app;
}
