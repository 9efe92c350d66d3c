/**
 * Which names carry secrets. A name is compared without case and separators (`App-Secret` is `appSecret`),
 * because headers, environment variables, query strings and JSON spell the same secret differently.
 */
const SECRET_ANYWHERE = new RegExp(
  [
    'secret|passw|passphrase|authorization|cookie|credential|sessionwebhook|accesstoken|refreshtoken|keymaterial',
    '(?:api|aes|private|access|signing|seal|reply|encryption|hmac)keys?',
  ].join('|'),
);
const SECRET_AT_END = /(?:tokens?|tokenvalue|tokentext|tickets?|signature|pwd|session|session(?:id|key|value)|jwt)$/;

/** `appSecretFile` names a file, `accessTokenCount` is a number: the name of a secret's property is no secret. */
const PROPERTY_OF_SECRET =
  /(?:file|files|dir|name|names|count|ms|seconds|minutes|time|at|in|limit|budget|length|bytes|kind|type|status|hosts)$/;

/** `sign` and `auth` end too many honest words (design, assign), so they count only as a whole last word. */
const SECRET_LAST_WORD = /(?:^|[^A-Za-z]|[a-z0-9](?=[A-Z]))(?:sign|Sign|SIGN|auth|Auth|AUTH)$/;

/** True if the value under this name must never be written down. Pure. */
export function isSecretName(name: string): boolean {
  const plain = name.toLowerCase().replace(/[^a-z0-9]+|\d+$/g, '');
  if (SECRET_AT_END.test(plain)) return true;
  if (SECRET_ANYWHERE.test(plain)) return !PROPERTY_OF_SECRET.test(plain);
  return SECRET_LAST_WORD.test(name);
}
