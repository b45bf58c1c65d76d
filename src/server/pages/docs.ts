/** What the routes of the page API take and answer, for readers of /openapi.json. */
import { type TSchema, Type } from 'typebox';
import { answers, answersOf } from '../schemas.ts';

const text = Type.String();
const count = Type.Integer({ minimum: 0 });
const optional = Type.Optional;
const ErrorMessage = Type.Object({ message: text });

const StatusObject = Type.Object({
  mType: Type.String({ description: 'file or directory' }),
  ...{ mName: text, mPath: text, mUfsPath: text, mLastModificationTimeMs: count, mCreationTimeMs: count },
  ...{ mLength: count, mHumanReadableFileSize: text, mCompleted: Type.Boolean(), mOwner: text, mGroup: text },
  ...{ mMode: count, mPersisted: Type.Boolean() },
  mInAlluxioPercentage: Type.Integer({ minimum: 0, maximum: 100, description: '0 for directories' }),
  mContentHash: Type.String({ description: 'The ETag' }),
});

const path = Type.Object({ path: Type.String({ description: 'UFS path: s3://bucket/key' }) });
const id = Type.String({ description: 'SHA-256 of the path, in lowercase hex' });
const ofFile = Type.Object({ id });
const ofPage = Type.Object({ id, page: Type.Integer({ minimum: 0, description: 'Pages have 1 MiB' }) });
const ufsFullPath = optional(Type.String({ description: 'The path of the id, encoded or not' }));
const numOfBytes = optional(Type.String({ default: '1024', description: 'A number of bytes, or a size such as 1kb' }));
const offset = optional(Type.Integer({ minimum: 0, default: 0 }));

const tags = ['pages'];
const bytes = {
  description: 'The bytes',
  content: { 'application/octet-stream': { schema: Type.String({ format: 'binary' }) } },
};
const given = (
  summary: string,
  params: TSchema,
  querystring: TSchema,
  statuses: readonly number[] = [404, 416, 503],
) => ({
  ...{ tags, summary, params, querystring, response: answersOf(bytes, statuses, ErrorMessage) },
});
const told = (summary: string, answer: TSchema, querystring?: TSchema, statuses: readonly number[] = [503]) => ({
  ...{ tags, summary, response: answers(answer, statuses, ErrorMessage) },
  ...(querystring === undefined ? {} : { querystring }),
});
const refused = (params: TSchema) => {
  const { 200: _, 400: __, ...response } = answers(text, [405], ErrorMessage);
  return { tags, summary: 'Refused: the cache is read-only', params, response };
};

export const pageDocs = {
  '/v1/files': told('What a directory has, or one file', Type.Array(StatusObject), path, [404, 503]),
  '/v1/info': told('One file or directory', Type.Array(StatusObject), path, [404, 503]),
  '/v1/node': told('The worker that owns a path', Type.Object({ Host: text, HttpServerPort: count }), path, []),
  '/v1/ufsInfo': told(
    'Buckets, and where the S3 port has them',
    Type.Record(text, Type.Object({ alluxio_path: text, endpoint: optional(text) })),
  ),
  '/v1/file/:id/page/:page': given(
    'A page of a file, or a range inside it; shorter at the end of the file',
    ofPage,
    Type.Object({ offset, length: optional(count), ufsFullPath }),
  ),
  '/v1/range/:id': given(
    'A range of a file',
    ofFile,
    Type.Object({ ufsFullPath, offset, length: optional(Type.Integer({ minimum: -1, default: -1 })) }),
  ),
  '/v1/chunk/:id': given(
    'A whole file',
    ofFile,
    Type.Object({
      ufsFullPath,
      chunkSize: optional(Type.String({ description: 'How much the client reads at once' })),
    }),
    [404, 503],
  ),
  '/v1/head/:id': given('The first bytes', ofFile, Type.Object({ ufsFullPath, numOfBytes }), [404, 503]),
  '/v1/tail/:id': given('The last bytes', ofFile, Type.Object({ ufsFullPath, numOfBytes }), [404, 503]),
  'POST /v1/file/:id/page/:page': refused(ofPage),
  'POST /v1/chunk/:id': refused(ofFile),
  'POST /v1/mkdir/:id': refused(ofFile),
  'POST /v1/touch/:id': refused(ofFile),
  'POST /v1/rm/:id': refused(ofFile),
  'POST /v1/mv/:id': refused(ofFile),
  'POST /v1/copy/:id': refused(ofFile),
};

/** A URL of the API, as the router has it. */
export type PageRoute = Exclude<keyof typeof pageDocs, `POST ${string}`>;
export type WriteRoute = keyof typeof pageDocs extends infer K ? (K extends `POST ${infer U}` ? U : never) : never;
