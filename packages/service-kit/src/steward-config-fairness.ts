import { z } from 'zod';

/** What one conversation may take up, so that it never costs another its answers. */
export const fairnessConfigSchema = z.strictObject({
  /** Requests of one conversation that may wait or run at once; further ones are not run, and the room hears so. */
  maxWaitingPerConversation: z.int().min(1).max(10_000).default(20),
  /** A room that is full hears so at most this often. */
  noticeEverySeconds: z.int().min(10).max(86_400).default(60),
});
