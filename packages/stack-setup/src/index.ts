export { buildDemoCard, buildDemoWorld, toLocalUrl, type DemoUrls } from './demo-world.ts';
export { planSecrets, readers, type FindSecret, type Reader, type SecretFolder } from './plan-secrets.ts';
export { buildRabbitDefinitions, vhost } from './rabbit-definitions.ts';
export { writeFolder, writeOwned } from './write-folder.ts';
