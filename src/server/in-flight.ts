/** Long answers that are under way, so that a server that closes neither waits for them for ever nor forgets them. */
import type { FastifyInstance, FastifyReply } from 'fastify';

/**
 * Gives the verb that keeps an eye on one answer until it has settled. When the server closes, answers have `graceMs` to end
 * by themselves, then their sockets are destroyed; `app.close()` resolves after the last has let go of what it held.
 */
export function watchAnswers(
  app: FastifyInstance,
  graceMs: number,
): <T>(reply: FastifyReply, answer: Promise<T>) => Promise<T> {
  const underWay = new Map<FastifyReply, Promise<unknown>>();
  app.addHook('preClose', (closed) => {
    // Not waited for: the server ends by itself once the last answer has.
    setTimeout(() => {
      for (const reply of underWay.keys()) reply.raw.destroy();
    }, graceMs).unref();
    closed();
  });
  // Whoever closes the store next must find no reader in it.
  app.addHook('onClose', async () => {
    await Promise.allSettled(underWay.values());
  });
  return async (reply, answer) => {
    underWay.set(reply, answer);
    try {
      return await answer;
    } finally {
      underWay.delete(reply);
    }
  };
}
