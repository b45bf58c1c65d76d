/** Bodies of the S3 port that do not arrive whole: bad pages, clients that are slow or leave; and what the metrics are told. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { beforeEach, describe, expect, it } from 'vitest';
import { MiB } from '../../../src/core/units.ts';
import { patterned } from '../../support/bytes.ts';
import { rawRequest } from '../../support/raw-http.ts';
import { app, errorOf, files, openForEach, port, served, start } from './s3-gateway-scene.ts';

openForEach();

describe('a bad page', () => {
  const bytes = patterned(3 * MiB, 2);
  beforeEach(() => files.put('s3://b/bad', bytes));

  it('at the beginning is 500 and no byte', async () => {
    files.spoilPage('s3://b/bad', 0);
    const answer = await rawRequest(port, '/b/bad');
    expect(answer.status).toBe(500);
    expect(errorOf(answer.body)).toMatchObject({
      Code: 'InternalError',
      Message: expect.stringContaining('STORE_CORRUPT'),
    });
  });

  it('in the middle cuts the answer short of its length, with right bytes before', async () => {
    files.spoilPage('s3://b/bad', 2);
    const answer = await rawRequest(port, '/b/bad');
    expect(answer.status).toBe(200);
    expect(answer.promisedBytes).toBe(3 * MiB);
    expect(answer.body.length).toBeLessThan(3 * MiB);
    expect(answer.body.equals(bytes.subarray(0, answer.body.length))).toBe(true);
    expect(files.piecesRead).toBe(2);
    expect(served).toEqual([]);
  });

  it('a store that ends early is no short answer either', async () => {
    files.endEarly('s3://b/bad', 2 * MiB);
    const answer = await rawRequest(port, '/b/bad');
    expect(answer.body.length).toBeLessThan(answer.promisedBytes);
  });
});

describe('slow and leaving clients', () => {
  const sizeBytes = 64 * MiB;
  beforeEach(() => files.put('s3://b/large', Buffer.alloc(sizeBytes, 7)));

  it('hold no more than what the sockets hold, and are cut off when they take nothing', async () => {
    await app.close();
    await start({ stallMs: 300 });
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /b/large HTTP/1.1\r\nhost: x\r\n\r\n');
    socket.pause();
    await once(socket, 'connect');
    await expect.poll(() => files.openFiles, { timeout: 5_000 }).toBe(1);
    await expect.poll(() => files.openFiles, { timeout: 5_000 }).toBe(0);
    expect(files.piecesRead).toBeLessThan(sizeBytes / MiB / 2);
    expect(served).toEqual([]);
    socket.destroy();
  });

  it('that leave stop the reading', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /b/large HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(socket, 'data');
    socket.destroy();
    await expect.poll(() => files.openFiles, { timeout: 5_000 }).toBe(0);
    expect(files.piecesRead).toBeLessThan(sizeBytes / MiB);
  });

  it('wait for a turn, and get 503 when none comes', async () => {
    await app.close();
    await start({ maxBodies: 1, turnWaitMs: 50 });
    const holder = connect(port, '127.0.0.1');
    holder.write('GET /b/large HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(holder, 'data');
    holder.pause();
    const answer = await rawRequest(port, '/b/large');
    expect(answer.status).toBe(503);
    expect(errorOf(answer.body).Code).toBe('SlowDown');
    holder.destroy();
    await expect.poll(() => files.openFiles, { timeout: 5_000 }).toBe(0);
    expect((await rawRequest(port, '/b/large', { headers: { range: 'bytes=0-9' } })).status).toBe(206);
  });

  it('do not keep the server from closing', async () => {
    await app.close();
    await start({ closeGraceMs: 50 });
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET /b/large HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(socket, 'data');
    socket.pause();
    await app.close();
    expect(files.openFiles).toBe(0);
  });
});

it('tells the metrics of every request, however it ends', async () => {
  await app.close();
  const answered: string[] = [];
  await start({
    onAnswered: ({ operation, status, seconds }) => answered.push(`${operation} ${status} ${seconds > 0}`),
  });
  files.put('s3://b/k', 'x');
  files.put('s3://b/bad', patterned(2 * MiB, 1));
  files.spoilPage('s3://b/bad', 1);
  await rawRequest(port, '/b/k');
  await rawRequest(port, '/b/k', { method: 'HEAD' });
  await rawRequest(port, '/b?list-type=2');
  await rawRequest(port, '/b?location');
  await rawRequest(port, '/b/none');
  await rawRequest(port, '/b/k', { method: 'DELETE' });
  await rawRequest(port, '/b/bad');
  await expect.poll(() => answered).toHaveLength(7);
  expect(answered).toEqual(
    ['get 200', 'head 200', 'list 200', 'other 200', 'get 404', 'other 405', 'get 200'].map((one) => `${one} true`),
  );
});
