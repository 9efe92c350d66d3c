import { createLoop, readSecretFile, type Logger, type Loop, type StewardConfig } from '@steward/service-kit';
import type { ApiClient } from '@steward/dingtalk';
import type { SenderRobots } from './robots.ts';

/** Where clicks on a robot's cards are posted, and the secret that signs them. */
export type CardRegistration = { robotCode: string; routeKey: string; url: string; apiSecret: string };

const againMs = 60_000;

/** The robots whose clicks come over HTTP and whose address is configured; whoever has a Stream door needs none of this. */
export function loadCardRegistrations(config: StewardConfig, secretsDir: string): CardRegistration[] {
  return config.robots.flatMap(({ code, name, doors, cards }) =>
    doors.includes('stream') || cards?.callbackUrl === undefined || cards.callbackSecretFile === undefined
      ? []
      : [
          {
            robotCode: code,
            routeKey: name,
            url: cards.callbackUrl,
            apiSecret: readSecretFile(secretsDir, cards.callbackSecretFile),
          },
        ],
  );
}

type Registrar = {
  api: Pick<ApiClient, 'registerCardCallback'>;
  robots: Pick<SenderRobots, 'byCode'>;
  log: Logger;
};

/** Tells the platform where clicks go, at start and every minute until it has said yes to each. Every replica may do it. */
export function createCardRegistrar(o: Registrar & { registrations: readonly CardRegistration[] }): Loop {
  let open = o.registrations;
  return createLoop({
    name: 'card callbacks',
    idleMs: againMs,
    log: o.log,
    run: async () => {
      open = await registerOpen(o, open);
      return 'idle';
    },
  });
}

/** Tries each once, and gives back those to try again. */
export async function registerOpen(o: Registrar, open: readonly CardRegistration[]): Promise<CardRegistration[]> {
  const refused: CardRegistration[] = [];
  for (const registration of open) {
    const { robotCode, routeKey, url, apiSecret } = registration;
    const robot = o.robots.byCode.get(robotCode);
    if (robot === undefined) continue;
    const outcome = await o.api.registerCardCallback({ app: robot.app, routeKey, url, apiSecret });
    if (outcome.kind === 'accepted') o.log.info('card.callback.registered', { robot: routeKey });
    else {
      refused.push(registration);
      o.log.warn('card.callback.refused', { robot: routeKey, code: outcome.code, text: outcome.text });
    }
  }
  return refused;
}
