/** Every clock shows its time zone: people of one incident sit in several. */
export function renderClock(at: Date, timeZone: string): string {
  const text = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' }).format(at);
  return `${text} ${timeZone}`;
}
