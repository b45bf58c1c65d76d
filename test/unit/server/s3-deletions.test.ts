/** The document of DeleteObjects, and the answer to it. */
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { crc32c, crc64nvme } from '../../../src/platform/index.ts';
import { deletionsOf, deletionsXml, noDeletions, withRefused } from '../../../src/server/s3/delete-objects.ts';
import { deletionsLimitBytes, malformed } from '../../../src/server/s3/deletions-reader.ts';
import { S3Error } from '../../../src/server/s3/errors.ts';
import { writeBodyOf } from '../../../src/server/s3/write-body.ts';

async function* cut(document: string | Buffer, bytes = 65_536): AsyncGenerator<Buffer> {
  const all = Buffer.from(document);
  for (let at = 0; at < all.length; at += bytes) yield all.subarray(at, at + bytes);
}

const one = '<Object><Key>a</Key></Object>';
const text = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 60 })
  .filter((value) => !/[\p{Surrogate}\0]/u.test(value));

it('is read and written anew, whatever characters its keys have, and wherever it is cut', async () => {
  const deletion = fc.record(
    { key: text, versionId: text, etag: text, lastModifiedTime: text, size: text },
    { requiredKeys: ['key'] },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(deletion, { minLength: 1, maxLength: 5 }),
      fc.boolean(),
      fc.integer({ min: 1, max: 40 }),
      async (objects, quiet, bytes) => {
        expect(await deletionsOf(cut(await deletionsXml(objects, quiet), bytes))).toEqual({ objects, quiet });
      },
    ),
  );
});

it.each([
  ['as s3cmd writes it', `<?xml version="1.0" encoding="UTF-8"?><Delete>${one}<Quiet>true</Quiet></Delete>`, true],
  [
    'with its namespace, indented',
    `\n<Delete xmlns='http://x'>\r\n <Quiet>false</Quiet>\n\t${one}\n</Delete >\n`,
    false,
  ],
  ['behind a byte order mark', `\ufeff<Delete>${one}</Delete>`, false],
  [
    'with references of each kind',
    '<Delete><Object><Key>&#97;</Key></Object><Quiet> &#x74;rue </Quiet></Delete>',
    true,
  ],
])('%s', async (_, document, quiet) => {
  expect(await deletionsOf(cut(document))).toEqual({ objects: [{ key: 'a' }], quiet });
});

it.each([
  ['nothing', ''],
  ['no object', '<Delete/>'],
  ['no key', '<Delete><Object></Object></Delete>'],
  ['an empty key', '<Delete><Object><Key/></Object></Delete>'],
  ['two keys', '<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>'],
  ['a document type', `<!DOCTYPE x><Delete>${one}</Delete>`],
  ['a comment', `<Delete><!-- > -->${one}</Delete>`],
  ['CDATA', '<Delete><Object><Key><![CDATA[a]]></Key></Object></Delete>'],
  ['an instruction', `<Delete><?x y?>${one}</Delete>`],
  ['another encoding', `<?xml version="1.0" encoding="latin1"?><Delete>${one}</Delete>`],
  ['no end', '<Delete><Object><Key>a</Key>'],
  ['half of an end', `<Delete>${one}</Delete`],
  ['something behind the end', `<Delete>${one}</Delete>x`],
  ['two roots', `<Delete>${one}</Delete><Delete>${one}</Delete>`],
  ['text between', `<Delete>x${one}</Delete>`],
  ['crossed elements', '<Delete><Object><Key>a</Object></Key></Delete>'],
  ['an element in a key', '<Delete><Object><Key>a<b/></Key></Object></Delete>'],
  ['an element that is not known', `<Delete>${one}<Force>true</Force></Delete>`],
  ['a condition that is not known', '<Delete><Object><Key>a</Key><If>b</If></Object></Delete>'],
  ['a reference that is none', '<Delete><Object><Key>&nbsp;</Key></Object></Delete>'],
  ['a reference without an end', '<Delete><Object><Key>&amp</Key></Object></Delete>'],
  ['half of a character', '<Delete><Object><Key>&#xd800;</Key></Object></Delete>'],
  ['no UTF-8', Buffer.from(`<Delete><Object><Key>\xff</Key></Object></Delete>`, 'latin1')],
  ['elements deep in each other', `${'<a>'.repeat(1000)}${'</a>'.repeat(1000)}`],
  ['a key too many', `<Delete>${one.repeat(1001)}</Delete>`],
  ['a tag without end', `<Delete>${one}<${'a'.repeat(deletionsLimitBytes)}`],
  ['a value without end', `<Delete><Object><Key>${'&amp;'.repeat(10_000)}`],
])('is refused with %s', async (_, document) => {
  await expect(deletionsOf(cut(document))).rejects.toMatchObject({ code: 'MalformedXML' });
});

it('has a thousand keys of 1,024 bytes, and others have the thread while it is read and written', async () => {
  const key = '"'.repeat(1024);
  const objects = Array.from({ length: 1000 }, () => ({ key, versionId: 'v'.repeat(1024) }));
  const document = await deletionsXml(objects, true);
  expect(document.length).toBeGreaterThan(7_000_000);
  expect(document.length).toBeLessThanOrEqual(deletionsLimitBytes);
  let turns = 0;
  const others = setInterval(() => {
    turns += 1;
  }, 0);
  // Of the body as it comes from a connection that is always ahead.
  expect(await deletionsOf(cut(document))).toEqual({ objects, quiet: true });
  const whileRead = turns;
  const refused = objects.map((object) => ({ ...object, error: new S3Error('AccessDenied', 'no') }));
  expect((await withRefused(noDeletions, refused)).length).toBeGreaterThan(7_000_000);
  clearInterval(others);
  // Some 8 ms of 300 are enough to see that it is not done in one go.
  expect(whileRead).toBeGreaterThan(3);
  expect(turns - whileRead).toBeGreaterThan(3);
  const request = new IncomingMessage(new Socket());
  request.headers['content-length'] = String(deletionsLimitBytes + 1);
  const most = { limit: deletionsLimitBytes, tooLong: malformed, sums: { crc32c, crc64nvme }, stallMs: 60_000 };
  expect(() => writeBodyOf(request, most)).toThrow(malformed());
  const longer = await deletionsXml([{ key: `${key}b` }], false);
  await expect(deletionsOf(cut(longer))).rejects.toMatchObject({ code: 'KeyTooLongError' });
});

it('an answer gets an error for each key that the origin was not asked for', async () => {
  const refused = [{ key: 'a<&>', versionId: 'v1', error: new S3Error('AccessDenied', 'no') }];
  const given = async (answer: string): Promise<string> => String(await withRefused(Buffer.from(answer), refused));
  const row =
    '<Error><Key>a&lt;&amp;&gt;</Key><VersionId>v1</VersionId><Code>AccessDenied</Code><Message>no</Message></Error>';
  expect(await given(String(noDeletions))).toContain(`">${row}</DeleteResult>`);
  const deleted = '<DeleteResult xmlns="x"><Deleted><Key>bü</Key></Deleted></DeleteResult>\n';
  expect(await given(deleted)).toBe(deleted.replace('</DeleteResult>', `${row}</DeleteResult>`));
  const many = deleted.replace('<Deleted>', '<Deleted><Key>ü</Key></Deleted>'.repeat(200));
  expect(await given(many)).toBe(many.replace('</DeleteResult>', `${row}</DeleteResult>`));
  expect(await given('<DeleteResult xmlns="x"/>')).toBe(`<DeleteResult xmlns="x">${row}</DeleteResult>`);
  expect(await given('<s3:DeleteResult xmlns:s3="x"></s3:DeleteResult>')).toContain('<s3:Error><s3:Key>a&lt;');
  await expect(given('<Error/>')).rejects.toThrow(S3Error);
});
