import { canonicalJson } from './canonical-json.ts';

/** What an operator's key signs: the verb and every claim, in canonical form, so that neither can be read as another (note A6). */
export function toSignedClaims(verb: string, claims: object): Buffer {
  return Buffer.from(canonicalJson({ kind: `steward.operator.${verb}.v1`, ...claims }), 'utf8');
}
