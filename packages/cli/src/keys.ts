import { generateSealKey } from '@steward/audit';
import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { createOperatorKey, publicKeyOf, writeKeyFile } from './operator-key.ts';

/** `key new`: an operator's own key. What is printed goes into steward.yaml; the file goes nowhere. */
export function newKey({ print, warn }: CliContext, file: string): ExitCode {
  print(createOperatorKey(file).publicKey);
  warn(
    `the private key is in ${file}; put the line above into steward.yaml as operatorKey of the person whose key it is`,
  );
  return exitCodes.done;
}

/** `key show`: the public half again. */
export function showKey({ print }: CliContext, file: string): ExitCode {
  print(publicKeyOf(file));
  return exitCodes.done;
}

/** `key seal`: the pair of the audit sealer. The private half is the sealer's secret; the public half, in `<file>.pub`, is for all. */
export function newSealKey({ print, warn }: CliContext, file: string): ExitCode {
  const { privateKeyPem, publicKeyPem, keyId } = generateSealKey();
  writeKeyFile(file, privateKeyPem, 0o600);
  writeKeyFile(`${file}.pub`, publicKeyPem, 0o644);
  print(keyId);
  warn(
    `the private key is in ${file}, the public key that verifying needs in ${file}.pub; keep the public keys of all times`,
  );
  return exitCodes.done;
}
