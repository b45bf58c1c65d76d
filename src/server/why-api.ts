/** `GET /api/v1/fs/why`: the story of a file, of what jobs say and what each worker has kept (ours). */
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import type { FastifyPluginAsync } from 'fastify';
import { Type } from 'typebox';
import { directoryOf, type FsSource } from '../cluster/reading/fs-source.ts';
import type { PastSource } from '../cluster/reading/past.ts';
import type { JobService } from '../cluster/types.ts';
import { PrimedError } from '../core/errors.ts';
import { type PlacedSegment, type StatOfFile, storyOf } from '../core/story.ts';
import type { Clock, UfsPath } from '../core/types.ts';
import { answers, documented, FileStory, strict } from './schemas.ts';

export interface WhyApiOptions {
  readonly jobs: Pick<JobService, 'list' | 'trouble'>;
  readonly source: Pick<FsSource, 'stat'>;
  readonly past: PastSource;
  /** Ids of the workers that the ring gives a segment to; none where there is no ring. */
  readonly owners: (path: string, index: number, replicas: number) => readonly string[];
  readonly clock: Pick<Clock, 'wallMs'>;
}

/** Of a file that is cut into more, the first ones are told. */
const mostSegments = 100;
const Query = Type.Object(
  { path: Type.String({ minLength: 1, description: 'A file: s3://bucket/key, file:///dir/name' }) },
  strict,
);

export const whyApi: FastifyPluginAsync<WhyApiOptions> = async (scope, options) => {
  const app = scope.withTypeProvider<TypeBoxTypeProvider>();
  app.setValidatorCompiler(TypeBoxValidatorCompiler);
  documented(app);
  app.route({
    method: 'GET',
    url: '/api/v1/fs/why',
    exposeHeadRoute: false,
    schema: {
      ...{ tags: ['fs'], summary: 'The story of a file: loads, attempts, evictions, and why it is cached or not' },
      querystring: Query,
      response: answers(FileStory),
    },
    handler: async ({ query: { path } }) => {
      directoryOf(path);
      if (path.endsWith('/'))
        throw new PrimedError('REQUEST_INVALID', `path: '${path}' is a directory; name a file.`, { path });
      const [stat, { told, unanswered }] = await Promise.all([
        statOf(options.source, path),
        options.past(path as UfsPath),
      ]);
      const jobs = options.jobs.list({});
      const placement = placementOf(options.owners, path, stat, jobs.find(({ type }) => type === 'LOAD')?.options);
      return storyOf({ path, nowMs: options.clock.wallMs(), jobs, stat, told, unanswered, placement });
    },
  });
};

/** Undefined: nothing is cached at this very name. */
async function statOf(source: WhyApiOptions['source'], path: string): Promise<StatOfFile | undefined> {
  try {
    const stat = (await source.stat(path)) as StatOfFile;
    return stat.file === undefined ? undefined : stat;
  } catch (error) {
    if (error instanceof PrimedError && error.code === 'FILE_NOT_CACHED') return undefined;
    throw error;
  }
}

/** Of a file of which nothing is cached only where its first segment would be: how long it is, is not known. */
function placementOf(
  owners: WhyApiOptions['owners'],
  path: string,
  stat: StatOfFile | undefined,
  options: { readonly replicas: number } | undefined,
): PlacedSegment[] {
  const { sizeBytes = 1, segmentBytes = sizeBytes } = stat?.file ?? {};
  const count = Math.min(mostSegments, Math.max(1, Math.ceil(sizeBytes / Math.max(1, segmentBytes))));
  const segments = Array.from({ length: count }, (_, index) => ({
    index,
    workers: owners(path, index, options?.replicas ?? 1),
  }));
  return segments.filter(({ workers }) => workers.length > 0);
}
