import { InvalidArgumentError, Option } from 'commander';

/** A whole number of at least 1, as an option takes it. */
export function toCount(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number of at least 1.');
}

/** An option that may be given several times. */
export const collect = (value: string, before: string[] = []): string[] => [...before, value];

export const configOption = () =>
  new Option('--config <file>', 'the configuration (STEWARD_CONFIG, config/steward.yaml)');
export const jsonOption = () => new Option('--json', 'for programs');
export const environmentOption = (what: string) =>
  new Option('--environment <name>', what).choices(['test', 'production']);
