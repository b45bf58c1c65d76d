/** An embedded origin with a dataset, and a daemon that loads from it: where most end-to-end tests begin. */
import { join } from 'node:path';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import type { EmbeddedOrigin, OriginOptions } from '../../src/demo/origin/api.ts';
import type { ObjectSpec } from '../../src/demo/origin/objects.ts';
import { type Daemon, type DaemonOrder, spawnDaemon, startDaemon, untilReady } from './daemon.ts';
import { temporaryFolder } from './files.ts';
import { expectContent, originEnvironment, startTestOrigin } from './origin.ts';

export interface Scene {
  readonly origin: EmbeddedOrigin;
  /** The daemon of the moment: `restart` puts another in its place. */
  daemon: Daemon;
  readonly dataDir: string;
  /** Starts anew with the same data and ports once the old process is gone, and does not wait until it is ready. */
  spawn(more?: Partial<DaemonOrder>): Promise<void>;
  /** The same, and waits. */
  restart(more?: Partial<DaemonOrder>): Promise<void>;
  /** Reads objects through the S3 port and judges every byte. */
  readBack(objects: readonly ObjectSpec[]): Promise<void>;
  close(): Promise<void>;
}

export interface SceneOptions {
  readonly origin?: OriginOptions;
  readonly daemon?: Omit<DaemonOrder, 'dataDir'>;
}

export async function openScene(options: SceneOptions = {}): Promise<Scene> {
  const folder = temporaryFolder('scene');
  const origin = await startTestOrigin(options.origin);
  const dataDir = join(folder.path, 'data');
  const orderOf = (more: Partial<DaemonOrder> = {}): DaemonOrder => ({
    storeSize: '512MB',
    ...options.daemon,
    ...more,
    dataDir,
    env: { ...originEnvironment(origin), ...options.daemon?.env, ...more.env },
  });
  const closeOrigin = async () => {
    await origin.close();
    folder.remove();
  };
  let daemon: Daemon;
  try {
    daemon = await startDaemon(orderOf());
  } catch (error) {
    await closeOrigin();
    throw error;
  }
  const scene: Scene = {
    origin,
    daemon,
    dataDir,
    spawn: async (more) => {
      await scene.daemon.exited;
      scene.daemon = await spawnDaemon(orderOf({ ports: scene.daemon.ports, ...more }));
    },
    restart: async (more) => {
      await scene.spawn(more);
      await untilReady(scene.daemon);
    },
    readBack: (objects) => readBack(scene.daemon, origin.bucket, objects),
    close: async () => {
      await scene.daemon.kill();
      await closeOrigin();
    },
  };
  return scene;
}

/** An S3 client of the daemon's port. It signs with whatever: the port does not look. */
export function s3Of(daemon: Pick<Daemon, 's3'>): S3Client {
  return new S3Client({
    endpoint: daemon.s3,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: 'any', secretAccessKey: 'thing' },
  });
}

/** Reads objects through the S3 port of a daemon and judges every byte. */
export async function readBack(
  daemon: Pick<Daemon, 's3'>,
  bucket: string,
  objects: readonly ObjectSpec[],
): Promise<void> {
  const client = s3Of(daemon);
  try {
    for (const object of objects) {
      const answer = await client.send(new GetObjectCommand({ Bucket: bucket, Key: object.key }));
      expectContent(await answer.Body!.transformToByteArray(), object);
    }
  } finally {
    client.destroy();
  }
}
