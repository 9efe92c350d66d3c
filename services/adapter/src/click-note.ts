import type { StewardConfig } from '@steward/service-kit';

/**
 * Words for somebody who pressed a button: it was received, with the time on the organisation's clock. They promise nothing
 * about what follows from it.
 */
export function createClickNote({ language, timeZone }: Pick<StewardConfig, 'language' | 'timeZone'>) {
  const clock = new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit', second: '2-digit' });
  const word = { zh: '已收到', en: 'Received' }[language];
  return (at: Date): string => `${word} ${clock.format(at)}`;
}
