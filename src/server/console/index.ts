/**
 * The console, on the coordinator's port: the page (assets.ts), and `GET /api/v1/console/feed`, what it is told live, as
 * server-sent events: `hello` (who is listening), then messages of core/console-feed, all rows first. Whoever may read may
 * listen; what the page does beyond that it asks of the REST API, as any client does. Rates are kept here whether somebody
 * listens or not (rates.ts).
 */
import type { FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { answersOf, documented } from '../schemas.ts';
import { consoleAssets, takesGzip } from './assets.ts';
import { ConsoleFeed } from './feed.ts';
import { FeedMessage, gzipHead } from './message.ts';
import { RateKeeper, ratesRoute } from './rates.ts';
import { type ConsoleParts, consoleSource } from './source.ts';

export const consoleRoutes: FastifyPluginCallback<ConsoleParts> = (app, parts, done) => {
  const keeper = new RateKeeper(parts);
  const feed = new ConsoleFeed({ source: consoleSource(parts, (id) => keeper.book.rateOf(id)) });
  app.addHook('onReady', async () => keeper.start());
  // Before the server waits for its connections to end.
  app.addHook('preClose', async () => {
    feed.close();
    await keeper.stop();
  });
  app.register(consoleAssets);
  app.register(async (scope) => {
    documented(scope);
    ratesRoute(scope, keeper);
    const events = { description: 'Server-sent events', content: { 'text/event-stream': { schema: Type.String() } } };
    scope.route({
      method: 'GET',
      url: '/api/v1/console/feed',
      exposeHeadRoute: false,
      config: { lasts: true },
      schema: {
        ...{ tags: ['console'], summary: 'Jobs, workers and origins, live', response: answersOf(events, [429, 503]) },
        querystring: Type.Object({}, { additionalProperties: false }),
      },
      handler: (request, reply) => listen(feed, request, reply),
    });
  });
  done();
};

/** Of what a listener that is dropped has not taken. */
const endLimitMs = 1_000;

function listen(feed: ConsoleFeed, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  feed.check();
  const { raw } = reply.hijack();
  const gzip = takesGzip(request.headers['accept-encoding']);
  raw.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    // Nobody between may keep it, or hold it back.
    'cache-control': 'no-store, no-transform',
    'x-accel-buffering': 'no',
    ...(gzip && { 'content-encoding': 'gzip', vary: 'accept-encoding' }),
  });
  const write = (message: FeedMessage): boolean => raw.write(gzip ? message.packed : message.text);
  if (gzip) raw.write(gzipHead);
  const end = (): void => {
    raw.end();
    // What it does not take would be kept for as long as it likes, and the stop of the daemon would wait for it.
    if (raw.writableNeedDrain) raw.destroy();
    else setTimeout(() => raw.writableFinished || raw.destroy(), endLimitMs).unref();
  };
  const { caller } = request;
  write(FeedMessage.event('hello', caller === undefined ? {} : { caller }));
  const { drained, leave } = feed.join({ write, may: request.stillMay, end });
  raw.on('drain', drained);
  raw.on('close', leave);
  return reply;
}
