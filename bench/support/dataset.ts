/** Data to load: files of random bytes in the layout that the origins of bench/origins serve, root/<bucket>/<key>. */
import { randomFillSync } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { MiB } from '../../src/core/units.ts';

export interface DatasetObject {
  readonly key: string;
  readonly bytes: number;
}

export interface Dataset {
  readonly root: string;
  readonly bucket: string;
  /** In byte order of the key. */
  readonly objects: readonly DatasetObject[];
  readonly totalBytes: number;
}

/** A folder holds at most this many objects, as a dataset of shards would be laid out. */
const objectsPerFolder = 1000;

/**
 * Makes `count` objects of `objectBytes` random bytes each. With `sparse` the files are holes: they read as zeros and
 * take no room.
 */
export function makeDataset(order: {
  root: string;
  bucket: string;
  count: number;
  objectBytes: number;
  sparse?: boolean;
}): Dataset {
  const objects = Array.from({ length: order.count }, (_, i) => ({ key: datasetKey(i), bytes: order.objectBytes }));
  const pool = new Uint8Array(Math.min(order.objectBytes, 8 * MiB));
  for (const object of objects) {
    const path = join(order.root, order.bucket, object.key);
    mkdirSync(dirname(path), { recursive: true });
    const fd = openSync(path, 'w');
    if (order.sparse) ftruncateSync(fd, object.bytes);
    else writeRandom(fd, object.bytes, pool);
    closeSync(fd);
  }
  return { root: order.root, bucket: order.bucket, objects, totalBytes: order.count * order.objectBytes };
}

/** The key of an object by its number. */
export function datasetKey(index: number): string {
  const folder = Math.floor(index / objectsPerFolder);
  return `shard-${String(folder).padStart(4, '0')}/object-${String(index).padStart(7, '0')}.bin`;
}

function writeRandom(fd: number, bytes: number, pool: Uint8Array): void {
  for (let at = 0; at < bytes; at += pool.length) {
    randomFillSync(pool);
    writeSync(fd, pool, 0, Math.min(pool.length, bytes - at));
  }
}
