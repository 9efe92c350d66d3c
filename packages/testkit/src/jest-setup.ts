import { afterAll } from '@jest/globals';
import { stopAllProcesses } from './start-process.ts';

// Read by jest before each test file (jest.config.js): no program of a test outlives its file.
afterAll(stopAllProcesses);
