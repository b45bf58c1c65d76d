/** Who primed is to an origin: every way to credentials that AWS's tools have, and what a user hears when they are wrong. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import type { S3Credentials } from '../../src/server/s3/signature.ts';
import { ended, loaded, progress, submit } from '../support/api.ts';
import type { Daemon } from '../support/daemon.ts';
import { openPlace, type Place } from '../support/node.ts';
import { originEnvironment, startTestOrigin, testCredentials } from '../support/origin.ts';
import { readBack } from '../support/scene.ts';

const profiled: S3Credentials = { accessKeyId: 'AKIDPROFILED', secretAccessKey: 'of/the profile' };
const temporary: S3Credentials = {
  accessKeyId: 'ASIDTEMPORARY',
  secretAccessKey: 'of/the session',
  sessionToken: 'token+with/signs==',
};
const processed: S3Credentials = {
  accessKeyId: 'ASIDPROCESSED',
  secretAccessKey: 'of/the program',
  sessionToken: 'token-of-the-program',
};
const known = [testCredentials, profiled, temporary, processed];

/** One bucket for each way: one of several parts, one small. */
const objectsOf = (bucket: string) => [
  { bucket, key: 'data/large.bin', sizeBytes: 10 * MiB + 7 },
  { bucket, key: 'data/small file.bin', sizeBytes: 5000 },
];
const buckets = 'profiled processed temporary wrong-key wrong-secret wrong-token blank-token no-program'.split(' ');

let origin: EmbeddedOrigin;
let place: Place;
const files: Record<string, string> = {};

beforeAll(async () => {
  origin = await startTestOrigin({ objects: buckets.flatMap(objectsOf), credentials: known });
  place = openPlace('credentials');
  files.AWS_CONFIG_FILE = join(place.path, 'config');
  files.AWS_SHARED_CREDENTIALS_FILE = join(place.path, 'credentials');
});
afterAll(async () => {
  await place?.close();
  await origin?.close();
});

/** The requests for a bucket; who asked is known by what the origin accepted. */
const requestsTo = (bucket: string) => origin.requests.filter((one) => one.bucket === bucket);
async function expectLoaded(daemon: Daemon, bucket: string): Promise<void> {
  await loaded(daemon.api, `s3://${bucket}/data/`);
  await readBack(daemon, bucket, objectsOf(bucket));
  const requests = requestsTo(bucket);
  expect(new Set(requests.map(({ operation }) => operation))).toEqual(new Set(['ListObjectsV2', 'GetObject']));
  expect(requests.filter(({ status }) => status >= 300)).toEqual([]);
}

describe('profiles of the AWS configuration files', () => {
  let daemon: Daemon;
  const programRuns = () => readFileSync(join(place.path, 'runs'), 'utf8').trim().split('\n').length;
  beforeAll(async () => {
    const program = join(place.path, 'program.mjs');
    const answer = {
      Version: 1,
      AccessKeyId: processed.accessKeyId,
      SecretAccessKey: processed.secretAccessKey,
      SessionToken: processed.sessionToken,
      Expiration: new Date(Date.now() + 3_600_000).toISOString(),
    };
    writeFileSync(
      program,
      `import { appendFileSync } from 'node:fs';
appendFileSync(${JSON.stringify(join(place.path, 'runs'))}, 'run\\n');
console.log(${JSON.stringify(JSON.stringify(answer))});\n`,
    );
    const at = `region = us-east-1\nendpoint_url = ${origin.endpoint}`;
    writeFileSync(
      files.AWS_CONFIG_FILE!,
      `[profile profiled]
${at}
[profile processed]
${at}
credential_process = "${process.execPath}" "${program}"
[profile no-program]
${at}
credential_process = "${join(place.path, 'not-there')}"
[profile wrong-key]
${at}
[profile wrong-secret]
${at}
[profile wrong-token]
${at}
[profile blank-token]
${at}
`,
    );
    const keys = ({ accessKeyId, secretAccessKey, sessionToken }: S3Credentials) =>
      `aws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n${
        sessionToken === undefined ? '' : `aws_session_token = ${sessionToken}\n`
      }`;
    writeFileSync(
      files.AWS_SHARED_CREDENTIALS_FILE!,
      `[profiled]
${keys(profiled)}[wrong-key]
${keys({ ...profiled, accessKeyId: 'AKIDNOBODY' })}[wrong-secret]
${keys({ ...profiled, secretAccessKey: 'of another' })}[wrong-token]
${keys({ ...temporary, sessionToken: 'of-another-session' })}[blank-token]
${keys({ ...temporary, sessionToken: 'a token' })}`,
    );
    const entries = buckets
      .filter((bucket) => bucket !== 'temporary')
      .map((bucket) => `[[ufs]]\nprefix = "s3://${bucket}/"\nprofile = "${bucket}"\n`);
    daemon = await place.start(entries.join(''), { env: files });
  });

  it('give keys, region and endpoint: the bucket goes into the path of an endpoint that is not Amazon', () =>
    expectLoaded(daemon, 'profiled'));

  it('give credentials by a program of theirs, which is asked once while they are valid', async () => {
    await expectLoaded(daemon, 'processed');
    await loaded(daemon.api, 's3://processed/data/');
    expect(programRuns()).toBe(1);
  });

  it.each([
    ['wrong-key', 403, 'InvalidAccessKeyId', 'does not exist in our records'],
    ['wrong-secret', 403, 'SignatureDoesNotMatch', 'does not match the signature'],
    ['wrong-token', 400, 'InvalidToken', 'malformed or otherwise invalid'],
  ])(
    'with %s: the load fails, and says status, code and request id as the origin gave them',
    async (bucket, status, code, words) => {
      for (const path of [`s3://${bucket}/data/`, `s3://${bucket}/data/large.bin`]) {
        await submit(daemon.api, path);
        const report = await ended(daemon.api, path);
        expect([path, report.mJobState, report.mLoadedByteCount]).toEqual([path, 'FAILED', 0]);
        const facts = new RegExp(`HTTP ${status}, code ${code}, request id ([0-9A-F]{16})\\)`);
        expect(report.reason).toContain(path);
        expect(report.reason).toContain(words);
        expect(report.reason).toMatch(facts);
        expect(origin.requests.map(({ requestId }) => requestId)).toContain(facts.exec(report.reason)![1]);
        expect((await progress(daemon.api, path, 'TEXT')).text).toContain(`Job State: FAILED (${report.reason})`);
      }
      expect(requestsTo(bucket).every((one) => one.status === status)).toBe(true);
    },
  );

  it('that give none which a request could carry: the load fails and says why, and the origin is not asked', async () => {
    const wanted = { 'no-program': 'not-there', 'blank-token': 'the session token contains a blank' };
    const paths = Object.entries(wanted).map(([bucket, words]) => ({ bucket, words, path: `s3://${bucket}/data/` }));
    for (const { path } of paths) await submit(daemon.api, path);
    for (const { bucket, words, path } of paths) {
      const { mJobState, reason } = await ended(daemon.api, path);
      expect([mJobState, reason]).toEqual(['FAILED', expect.stringContaining(`ORIGIN_CREDENTIALS: ${path}: `)]);
      expect(reason).toContain(words);
      expect(requestsTo(bucket)).toEqual([]);
    }
  });
});

describe('a session token of the environment', () => {
  it('goes with every request, and is signed', async () => {
    const elsewhere = openPlace('session');
    const daemon = await elsewhere.start('', {
      env: {
        ...originEnvironment(origin),
        AWS_ACCESS_KEY_ID: temporary.accessKeyId,
        AWS_SECRET_ACCESS_KEY: temporary.secretAccessKey,
        AWS_SESSION_TOKEN: temporary.sessionToken!,
      },
    });
    try {
      await expectLoaded(daemon, 'temporary');
    } finally {
      await elsewhere.close();
    }
  });
});
