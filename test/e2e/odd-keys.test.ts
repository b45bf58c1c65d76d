/** Keys that mean themselves: loaded, listed and read back as the origin names them, byte for byte. */
import { ListObjectsV2Command, paginateListObjectsV2, type S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ended, loaded, submitRaw } from '../support/api.ts';
import { primed } from '../support/cli.ts';
import { rawRequest } from '../support/raw-http.ts';
import { openScene, type Scene, s3Of } from '../support/scene.ts';

/** Characters that XML 1.0 can carry, as themselves or as a reference. */
const plain = [
  'a space/and  two',
  'plus+plus',
  'percent%41%2F%zz%',
  'größe/数据/🚀/e\u0301',
  '&<>"\'/]]>/&amp;',
  'tab\tline\nreturn\rend',
  'twice//slashed///x',
  'dots/./..',
  'dots/../x',
  'trailing dots...',
  'trailing space ',
  '/leading slash',
  '//two of them',
  'question?mark=1&x#y;z',
  'back\\slash',
  '~!*()$,:@=-_.',
  '\ufeffmark',
  '\u{10ffff}\uffff\u0085\u2028',
  'a/marker like/x',
];
/** Those that it cannot: clients ask for them with encoding-type=url. */
const control = ['control\u0001\u001b[31m\u007f', 'bell\u0007'];
const keys = [...plain, ...control];
const objects = keys.map((key, index) => ({ key, sizeBytes: 100 + index }));
const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

let scene: Scene;
let api: string;
let client: S3Client;
beforeAll(async () => {
  scene = await openScene({ origin: { objects }, daemon: { storeSize: '64MB' } });
  api = scene.daemon.api;
  client = s3Of(scene.daemon);
});
afterAll(async () => {
  client?.destroy();
  await scene?.close();
});

it('are loaded, each as itself, and read back over the S3 port', async () => {
  expect(await loaded(api, 's3://demo/', { verify: 'true' })).toMatchObject({
    loadedFiles: keys.length,
    verifiedFiles: keys.length,
  });
  await scene.readBack(objects);
  const fetched = scene.origin.requests.filter(({ operation }) => operation === 'GetObject').map(({ key }) => key);
  expect(fetched.sort(byBytes)).toEqual([...keys].sort(byBytes));
});

it.each([1, 4, 1000])('are listed with encoding-type=url, %i a page, in the order of their bytes', async (pageSize) => {
  const listed: string[] = [];
  const pages = paginateListObjectsV2({ client, pageSize }, { Bucket: 'demo', EncodingType: 'url' });
  for await (const { Contents } of pages) listed.push(...Contents!.map(({ Key }) => decodeURIComponent(Key!)));
  expect(listed).toEqual([...keys].sort(byBytes));
});

it('are listed without it, where XML can carry them', async () => {
  for (const key of plain) {
    const { Contents } = await client.send(new ListObjectsV2Command({ Bucket: 'demo', Prefix: key }));
    expect(Contents?.map(({ Key }) => Key)).toEqual([key]);
  }
});

it('are folded at a delimiter: what lies below // is below it', async () => {
  const { Contents, CommonPrefixes } = await client.send(
    new ListObjectsV2Command({ Bucket: 'demo', Prefix: 'twice/', Delimiter: '/' }),
  );
  expect([Contents, CommonPrefixes]).toEqual([undefined, [{ Prefix: 'twice//' }]]);
});

it('are named one by one to a load, and each is loaded alone; one with an asterisk by an index file', async () => {
  const starred = objects.filter(({ key }) => key.includes('*'));
  for (const { key, sizeBytes } of objects.filter((one) => !starred.includes(one))) {
    const report = await loaded(api, `s3://demo/${key}`);
    expect([key, report.loadedFiles, report.mLoadedByteCount]).toEqual([key, 1, sizeBytes]);
  }
  scene.origin.put({ key: 'index', body: starred.map(({ key }) => `s3://demo/${key}\n`).join('') });
  await submitRaw(api, { indexFile: 's3://demo/index' });
  expect(await ended(api, 's3://demo/index')).toMatchObject({ mJobState: 'SUCCEEDED', loadedFiles: 1 });
});

it('cannot write to a terminal what they like', async () => {
  const said = [
    await primed(api, ['fs', 'ls', 's3://demo/']),
    await primed(api, ['job', 'list']),
    await primed(api, ['job', 'load', `s3://demo/${control[0]}`, '--progress']),
  ];
  for (const { code, stdout } of said) {
    expect([code, stdout]).toEqual([0, expect.stringContaining('[31m')]);
    expect([...stdout].filter((one) => /\p{Cc}/u.test(one) && one !== '\n' && one !== '\t')).toEqual([]);
  }
});

it('are not other keys: what differs by an encoding, a slash or a dot is not there', async () => {
  const { s3 } = scene.daemon.ports;
  for (const target of [
    'plus plus',
    'percentA%2F%25zz%25',
    'twice/slashed/x',
    'x',
    'leading%20slash',
    'trailing%20dots',
  ]) {
    expect([target, (await rawRequest(s3, `/demo/${target.replace(' ', '%20')}`)).status]).toEqual([target, 404]);
  }
});
