/** A time on the clock of a zone, which is always shown: people of one incident sit in several. Pure. */
export function toLocalTime(at: string | Date | null, timeZone: string): string {
  if (at === null) return '-';
  const time = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' });
  return `${time.format(typeof at === 'string' ? new Date(at) : at)} ${timeZone}`;
}
