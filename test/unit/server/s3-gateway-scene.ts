/** An S3 port over files in memory. */
import type { AddressInfo } from 'node:net';
import { XMLParser } from 'fast-xml-parser';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach } from 'vitest';
import { buildS3Server, type S3GatewayOptions } from '../../../src/server/s3/index.ts';
import { MemoryFiles } from '../../support/memory-files.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** Those of the test. */
export let files: MemoryFiles;
export let app: FastifyInstance;
export let port: number;
/** Bytes of each answer. */
export let served: number[];

/** In place of the port that each test begins with, which is closed before. */
export async function start(options: Partial<S3GatewayOptions> = {}): Promise<void> {
  app = buildS3Server({ files: files.alone, log: silent, onServed: (bytes) => served.push(bytes), ...options });
  await app.listen({ host: '127.0.0.1', port: 0 });
  port = (app.server.address() as AddressInfo).port;
}

export function openForEach(): void {
  beforeEach(async () => {
    files = new MemoryFiles();
    served = [];
    await start();
  });
  afterEach(async () => {
    await app.close();
    if (files.openFiles !== 0) throw new Error(`${files.openFiles} files are still open`);
  });
}

export const errorOf = (body: Buffer) => new XMLParser({ parseTagValue: false }).parse(body.toString()).Error;
