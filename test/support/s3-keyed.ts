/** An S3 port with a key, over an embedded origin whose objects are loaded: where clients that nobody here wrote are tried. */
import { createHash } from 'node:crypto';
import type { OriginOptions } from '../../src/demo/origin/api.ts';
import { contentAt } from '../../src/demo/origin/content.ts';
import type { ObjectSpec } from '../../src/demo/origin/objects.ts';
import { loaded } from './api.ts';
import type { Daemon } from './daemon.ts';
import { openPlace } from './node.ts';
import { originEnvironment, startTestOrigin } from './origin.ts';
import type { Keys } from './s3-signed.ts';

export interface KeyedPort {
  readonly daemon: Daemon;
  readonly keys: Keys;
  readonly bucket: string;
  /** A folder of the test. */
  readonly path: string;
  /** Of programs: the key where the AWS tools look for it, and nothing of this machine. */
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

export async function openKeyedPort(name: string, objects: OriginOptions['objects']): Promise<KeyedPort> {
  const origin = await startTestOrigin({ objects: objects ?? [] });
  const place = openPlace(name);
  const keys: Keys = { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'secret/of+client' };
  const toml = `[[s3.key]]\naccess_key_id = "${keys.accessKeyId}"\nsecret_access_key = "${keys.secretAccessKey}"\n`;
  const daemon = await place.start(toml, { env: originEnvironment(origin) });
  await loaded(daemon.api, `s3://${origin.bucket}/`);
  return {
    ...{ daemon, keys, bucket: origin.bucket, path: place.path },
    env: {
      ...{ AWS_ACCESS_KEY_ID: keys.accessKeyId, AWS_SECRET_ACCESS_KEY: keys.secretAccessKey, AWS_REGION: 'us-east-1' },
      ...{ AWS_DEFAULT_REGION: 'us-east-1', AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null' },
      ...{ AWS_EC2_METADATA_DISABLED: 'true', AWS_CA_BUNDLE: '', HOME: place.path, PATH: '/usr/bin:/bin' },
    },
    close: async () => {
      await place.close();
      await origin.close();
    },
  };
}

export function contentOfSpec({ key, version = 1, sizeBytes }: ObjectSpec): Buffer {
  return Buffer.from(contentAt(key, version, 0, sizeBytes));
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
