import { AppError, type StewardConfig } from '@steward/service-kit';

type Person = StewardConfig['people'][number];

/**
 * The configured person of a staffId, or of a name that only one of them has. Throws PERSON_UNKNOWN, PERSON_AMBIGUOUS.
 */
export function findPerson({ people }: Pick<StewardConfig, 'people'>, given: string, corpId?: string): Person {
  const inCorp = people.filter((person) => corpId === undefined || person.corpId === corpId);
  const byId = inCorp.filter(({ staffId }) => staffId === given);
  const [first, second] = byId.length > 0 ? byId : inCorp.filter(({ name }) => name === given);
  if (first === undefined) {
    throw refuse(
      'PERSON_UNKNOWN',
      'nobody of that staffId or name is in the configuration; `steward people list` shows them',
    );
  }
  if (second === undefined) return first;
  throw refuse('PERSON_AMBIGUOUS', 'several people are called so; give the staffId');
}

const refuse = (code: string, text: string) => new AppError(code, text, { retryable: false });
