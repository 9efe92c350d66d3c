/**
 * The name of this run. Databases and vhosts carry it, so that runs on one server do not meet and the runner can remove
 * what a killed test left. Without the runner (one jest by hand) it is `manual`.
 */
export function testRunId(): string {
  return process.env.STEWARD_TEST_RUN_ID ?? 'manual';
}

/** The value of a variable that names a server; without it a test fails here, with the way out. */
export function requireServerUrl(name: 'DATABASE_URL' | 'AMQP_URL'): string {
  const url = process.env[name];
  if (url !== undefined && url !== '') return url;
  throw new Error(
    `${name} is not set: this test needs a real server. Run it by \`make test\`, or start throw-away servers with ` +
      '`node packages/testkit/src/servers-main.ts` and export the lines it prints.',
  );
}
