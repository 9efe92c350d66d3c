import { z } from 'zod';
import { SECRET_FILE_NAME } from './secret-file.ts';

/** The small parts that every section of the configuration is made of. */
export const environment = z.enum(['test', 'production']);
export const name = z.string().regex(/^[a-z0-9-]{1,50}$/, 'must be lower-case letters, digits and dashes');
export const platformId = z.string().min(1).max(200);
/** Secrets are files inside the secrets folder; the configuration only names them. */
export const secretFile = z
  .string()
  .regex(SECRET_FILE_NAME, 'must be a file name inside the secrets folder, without a path');
export const address = z.url({ protocol: /^https?$/, error: 'must be an http or https URL' });
export const host = z
  .string()
  .max(260)
  .regex(
    /^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/,
    'must be a host name, with a port only for plain http',
  );
