/** Keys of an origin that were exchanged: HEAD signs with those of the moment. The origin judges every signature. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { UfsPath } from '../../../src/core/types.ts';
import type { EmbeddedOrigin } from '../../../src/demo/origin/api.ts';
import type { CredentialProvider, Identity } from '../../../src/origin/aws.ts';
import { makeLeanHead } from '../../../src/origin/lean-head.ts';
import { openOrigins } from '../../../src/origin/origins.ts';
import { startTestOrigin } from '../../support/origin.ts';
import { silent } from '../../support/silent.ts';
import { timeouts } from './raw-server.ts';

const before = { accessKeyId: 'AKIDSAME', secretAccessKey: 'the secret before' };
const after = { ...before, secretAccessKey: 'the secret of now' };
const path = 's3://demo/k' as UfsPath;
let origin: EmbeddedOrigin;
beforeAll(async () => {
  origin = await startTestOrigin({ objects: [{ key: 'k', sizeBytes: 5 }], credentials: [before] });
});
afterAll(() => origin.close());
beforeEach(() => {
  origin.setCredentials([before]);
  origin.resetStats();
});

const answers = (): number[] => origin.requests.map(({ status }) => status);
const open = () => {
  const ufs = [{ prefix: 's3://', endpoint: origin.endpoint, region: 'us-east-1', ...before }];
  return { ufs, origins: openOrigins({ ufs, timeouts, retry: { attempts: 1 }, log: silent }) };
};

test('another secret of the same key, from a reload on', async () => {
  const { ufs, origins } = open();
  expect(await origins.head(path)).toMatchObject({ sizeBytes: 5 });
  origin.setCredentials([after]);
  await expect(origins.head(path)).rejects.toMatchObject({ code: 'ORIGIN_DENIED' });
  expect(new Set(answers().slice(1))).toEqual(new Set([403]));
  origin.resetStats();
  origins.reconfigure({ ufs: [{ ...ufs[0]!, ...after }] });
  expect(await origins.head(path)).toMatchObject({ sizeBytes: 5 });
  // Our own request: the SDK, which is asked where that is refused, would make it two.
  expect(answers()).toEqual([200]);
  await origins.close();
});

test.each<[string, Identity]>([
  ['secret', after],
  ['session token', { ...before, sessionToken: 'of/another+session==' }],
  ['key', { ...before, accessKeyId: 'AKIDOTHER' }],
])('another %s of the provider, from the next request on', async (_what, next) => {
  const { origins } = open();
  const lane = await origins.laneOrigin(path);
  if (lane.kind !== 's3') throw new Error('an origin of files');
  let identity: Identity = before;
  const provider: CredentialProvider = async () => identity;
  const heads = makeLeanHead({ endpoint: lane, signed: true, provider, timeouts });
  expect(await heads.head('k', path)).toMatchObject({ sizeBytes: 5 });
  origin.setCredentials([next]);
  // Left to the SDK, which has the same.
  expect(await heads.head('k', path)).toBeUndefined();
  identity = next;
  expect(await heads.head('k', path)).toMatchObject({ sizeBytes: 5 });
  expect(answers()).toEqual([200, expect.toSatisfy((status: number) => status === 400 || status === 403), 200]);
  await heads.close();
  await origins.close();
});
