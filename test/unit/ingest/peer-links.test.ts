/** Which workers the lanes know: those that are copied from, and some more. */
import { expect, test } from 'vitest';
import { PeerLinks } from '../../../src/ingest/peer-links.ts';
import type { ToLane } from '../../../src/ingest/protocol.ts';

function peers(token?: string): { links: PeerLinks; said: ToLane[]; known: () => number[] } {
  const said: ToLane[] = [];
  const access = token === undefined ? {} : { token };
  const links = new PeerLinks({ broadcast: (message) => said.push(message) }, access);
  const known = (): number[] => {
    const indexes = new Set<number>();
    for (const message of said) {
      if (message.type === 'origin') indexes.add(message.origin.originIndex);
      if (message.type === 'forget') expect(indexes.delete(message.originIndex)).toBe(true);
    }
    return [...indexes];
  };
  return { links, said, known };
}

test('a worker is introduced once, with a number that no origin has', async () => {
  const { links, said, known } = peers('secret');
  const first = await links.use('http://10.0.0.1:28080', async (index) => index);
  const second = await links.use('http://[::1]:28081', async (index) => index);
  expect(await links.use('http://10.0.0.1:28080', async (index) => index)).toBe(first);
  expect(known()).toEqual([first, second]);
  expect(Math.max(first, second)).toBeLessThan(0);
  const common = {
    kind: 's3',
    tls: false,
    signed: false,
    pathPrefix: '/internal/v1/data',
    peer: { bearerToken: 'secret' },
  };
  expect(said).toMatchObject([
    { origin: { ...common, host: '10.0.0.1', port: 28080, hostHeader: '10.0.0.1:28080' } },
    { origin: { ...common, host: '::1', port: 28081, hostHeader: '[::1]:28081' } },
  ]);
});

test('of those that nobody copies from, the longest unused are forgotten, and come back under another number', async () => {
  const { links, known } = peers();
  let end = (): void => {};
  const held = new Promise<void>((resolve) => {
    end = resolve;
  });
  const indexes: number[] = [];
  const use = (n: number, until?: Promise<void>): Promise<void> =>
    links.use(`http://worker-${n}:28080`, async (index) => {
      indexes.push(index);
      await until;
    });
  const busy = use(0, held);
  for (let n = 1; n <= 200; n += 1) await use(n);
  expect(known()).toHaveLength(64);
  expect(known()).toContain(indexes[0]);
  expect(known()).toContain(indexes[200]);
  expect(known()).not.toContain(indexes[1]);
  await use(1);
  expect(new Set(indexes).size).toBe(202);
  end();
  await busy;
  expect(known()).toHaveLength(64);
});

test('a copy that rejects lets go of its worker as well', async () => {
  const { links, known } = peers();
  for (let n = 0; n < 100; n += 1) {
    await expect(links.use(`http://worker-${n}`, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  }
  expect(known()).toHaveLength(64);
});
