/** Fastify gives each plugin a context of its own; a plugin that is for the whole server says so by this symbol. */
import type { FastifyPluginCallback, FastifyPluginOptions } from 'fastify';

/** Makes the hooks of a plugin those of the server that it is registered on (what the package fastify-plugin does). */
export function forParent<O extends FastifyPluginOptions>(plugin: FastifyPluginCallback<O>): FastifyPluginCallback<O> {
  return Object.assign(plugin, { [Symbol.for('skip-override')]: true });
}
