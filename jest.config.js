// One configuration, four kinds of test. The file name says what a test needs:
//   *.test.ts      nothing but Node          *.pg.test.ts   a real Postgres (DATABASE_URL)
//   *.mq.test.ts   a real RabbitMQ (AMQP_URL) test/e2e/*     both
const base = {
  testEnvironment: 'node',
  setupFilesAfterEnv: ['<rootDir>/packages/testkit/src/jest-setup.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2024', parser: { syntax: 'typescript' } }, module: { type: 'es6' } },
    ],
  },
  transformIgnorePatterns: ['/node_modules/'],
  testPathIgnorePatterns: ['/node_modules/', '/.toolchain/', '/data/'],
  modulePathIgnorePatterns: ['/.toolchain/'],
};
const inFolders = (pattern) => ['packages', 'services'].map((folder) => `<rootDir>/${folder}/*/src/**/${pattern}`);

export default {
  testTimeout: 20_000,
  projects: [
    {
      ...base,
      displayName: 'unit',
      testMatch: [...inFolders('*.test.ts'), '<rootDir>/test/*.test.ts'],
      testPathIgnorePatterns: [...base.testPathIgnorePatterns, '\\.(pg|mq)\\.test\\.ts$'],
    },
    { ...base, displayName: 'postgres', testMatch: inFolders('*.pg.test.ts') },
    { ...base, displayName: 'rabbitmq', testMatch: inFolders('*.mq.test.ts') },
    { ...base, displayName: 'e2e', testMatch: ['<rootDir>/test/e2e/**/*.test.ts'] },
    { ...base, displayName: 'stack', testMatch: ['<rootDir>/test/stack/**/*.test.ts'] },
  ],
};
