import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openBucket } from '../../../src/origin/aws.ts';
import { timeouts } from './raw-server.ts';

interface Sent {
  readonly method: string;
  readonly hostname: string;
  readonly headers: Record<string, string>;
}

/** Amazon, as far as HEAD of a bucket goes: the bucket lives in `home`. */
function amazon(home: string, status: number): { sent: Sent[]; handler: { handle(request: Sent): Promise<unknown> } } {
  const sent: Sent[] = [];
  return {
    sent,
    handler: {
      handle(request) {
        sent.push(request);
        const here = request.headers.authorization?.includes(`/${home}/s3/`) === true;
        return Promise.resolve({
          response: { statusCode: here ? status : 301, headers: { 'x-amz-bucket-region': home }, body: undefined },
        });
      },
    },
  };
}

beforeEach(() => void vi.stubEnv('AWS_CA_BUNDLE', ''));
afterEach(() => void vi.unstubAllEnvs());

const provider = () => Promise.resolve({ accessKeyId: 'A', secretAccessKey: 'S' });

test.each([200, 403])('a bucket is opened in the region that Amazon names, with status %i', async (status) => {
  const { sent, handler } = amazon('eu-west-3', status);
  const opened = await openBucket({
    bucket: 'some-bucket',
    entry: { prefix: 's3://', region: 'us-east-1' },
    provider,
    timeouts,
    retry: { attempts: 1 },
    requestHandler: handler as never,
  });
  expect(opened.endpoint).toEqual({
    host: 'some-bucket.s3.eu-west-3.amazonaws.com',
    port: 443,
    tls: true,
    hostHeader: 'some-bucket.s3.eu-west-3.amazonaws.com',
    pathPrefix: '',
    region: 'eu-west-3',
    forcePathStyle: false,
  });
  expect(sent.length).toBeGreaterThan(0);
  expect(sent.every((request) => request.method === 'HEAD')).toBe(true);
  opened.client.destroy();
});

test('a bucket that no host name can carry goes into the path', async () => {
  const { handler } = amazon('us-east-1', 200);
  const opened = await openBucket({
    bucket: 'dotted.bucket.name',
    entry: { prefix: 's3://', region: 'us-east-1' },
    provider,
    timeouts,
    retry: { attempts: 1 },
    requestHandler: handler as never,
  });
  expect(opened.endpoint).toMatchObject({ host: 's3.us-east-1.amazonaws.com', pathPrefix: '/dotted.bucket.name' });
  opened.client.destroy();
});

test('a CA bundle that cannot be read is an error of the configuration', async () => {
  const opening = openBucket({
    bucket: 'bucket',
    entry: { prefix: 's3://', endpoint: 'https://127.0.0.1:1', region: 'r', caFile: '/nonexistent/ca.pem' },
    provider,
    timeouts,
    retry: { attempts: 1 },
  });
  await expect(opening).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('/nonexistent/ca.pem'),
  });
});
