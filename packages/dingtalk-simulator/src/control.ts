import type { z } from 'zod';
import type { CallRecord, CardRecord, CardVersion, ChatRecord, EffectRecord, PushRecord } from './records.ts';
import { callsSchema, chatSchema, disconnectSchema, revokeSchema, sentSchema } from './control-requests.ts';
import type { cardVersionsSchema, cardsSchema, effectsSchema } from './control-requests.ts';
import type { clickSchema, eventSchema, saySchema } from './control-requests.ts';
import { faultsPatchSchema } from './faults.ts';
import type { Faults, FaultsPatch } from './faults.ts';
import type { Delivered } from './push-course.ts';
import { createCardVerbs } from './control-cards.ts';
import { createPushVerbs } from './control-push.ts';
import { readPage } from './record-log.ts';
import { requireAnyApp } from './control-errors.ts';
import { applyFaults, resetSimulation } from './simulation.ts';
import type { Simulation } from './simulation.ts';
import { createSystems } from './systems-state.ts';
import type { HttpPusher } from './http-push.ts';
import type { ConnectionRow, StreamConnections } from './stream-connections.ts';
import { worldPatchSchema, worldSchema } from './world.ts';
import type { SimulatorWorld } from './world.ts';

/** The same verbs as the HTTP control API. Requests that do not fit throw (ZodError or ControlError). */
export type SimulatorControl = {
  say(o: z.input<typeof saySchema>): Promise<{ msgId: string; delivered: Delivered[] }>;
  click(o: z.input<typeof clickSchema>): Promise<{ delivered: Delivered[]; answer: unknown }>;
  event(o: z.input<typeof eventSchema>): Promise<{ eventId: string; delivered: Delivered[] }>;
  calls(o?: z.input<typeof callsSchema>): Promise<CallRecord[]>;
  messages(o?: z.input<typeof chatSchema>): Promise<ChatRecord[]>;
  sent(o?: z.input<typeof sentSchema>): Promise<PushRecord[]>;
  /** Cards as they stand, with every version and who sees them where. */
  cards(o?: z.input<typeof cardsSchema>): CardRecord[];
  cardVersions(o?: z.input<typeof cardVersionsSchema>): Promise<CardVersion[]>;
  /** What was really done to the pretend company system. */
  effects(o?: z.input<typeof effectsSchema>): Promise<EffectRecord[]>;
  faults(): Faults;
  setFaults(patch: FaultsPatch): Faults;
  world(): SimulatorWorld;
  /** Replaces the given parts of the world whole. */
  setWorld(patch: Partial<SimulatorWorld>): SimulatorWorld;
  reset(): void;
  connections(): ConnectionRow[];
  disconnect(o?: z.input<typeof disconnectSchema>): { disconnected: number };
  /** Makes access tokens invalid at once, of one app or of all. */
  revoke(o?: z.input<typeof revokeSchema>): { revoked: number };
};

type Parts = { simulation: Simulation; stream: StreamConnections; http: HttpPusher };

export function createControl(parts: Parts): SimulatorControl {
  const { simulation: s, stream } = parts;
  return {
    ...createPushVerbs(parts),
    calls: (o = {}) => {
      const { path, outcome, ...page } = callsSchema.parse(o);
      return readPage(
        s.calls,
        page,
        (call) => (path ?? call.path) === call.path && (outcome ?? call.outcome) === call.outcome,
      );
    },
    messages: (o = {}) => {
      const { conversationId, staffId, from, ...page } = chatSchema.parse(o);
      return readPage(
        s.chat,
        page,
        (line) =>
          (conversationId ?? line.conversationId) === line.conversationId &&
          (staffId ?? line.staffId) === line.staffId &&
          (from ?? line.from.kind) === line.from.kind,
      );
    },
    sent: (o = {}) => {
      const { kind, key, outcome, ...page } = sentSchema.parse(o);
      return readPage(
        s.pushes,
        page,
        (push) =>
          (kind ?? push.kind) === push.kind &&
          (key ?? push.key) === push.key &&
          (outcome ?? push.outcome) === push.outcome,
      );
    },
    ...createCardVerbs(s),
    ...createSettingVerbs(parts),
    connections: () => stream.list(),
    disconnect: (o = {}) => {
      const { app, connectionId, mode } = disconnectSchema.parse(o);
      const appKey = app === undefined ? undefined : requireAnyApp(s.world, app).appKey;
      return { disconnected: stream.disconnect({ appKey, connectionId, mode }) };
    },
    revoke: (o = {}) => {
      const { app } = revokeSchema.parse(o);
      const appKey = app === undefined ? undefined : requireAnyApp(s.world, app).appKey;
      return { revoked: s.tokens.forget((owner) => (appKey ?? owner) === owner) };
    },
  };
}

function createSettingVerbs({
  simulation: s,
  stream,
}: Parts): Pick<SimulatorControl, 'faults' | 'setFaults' | 'world' | 'setWorld' | 'reset'> {
  return {
    faults: () => structuredClone(s.faults),
    setFaults: (patch) => {
      applyFaults(s, structuredClone(faultsPatchSchema.parse(patch)));
      stream.restartClocks();
      return structuredClone(s.faults);
    },
    world: () => structuredClone(s.world),
    setWorld: (patch) => {
      s.world = worldSchema.parse({ ...s.world, ...worldPatchSchema.parse(patch) });
      if (patch.systems !== undefined) s.systems = createSystems(s.world);
      return structuredClone(s.world);
    },
    reset: () => {
      resetSimulation(s);
      stream.restartClocks();
    },
  };
}
