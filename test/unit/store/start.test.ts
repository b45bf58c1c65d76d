/** A start over a large index: it says how far it is, so that whoever supervises it goes on waiting. */
import { expect, test } from 'vitest';
import { openLocalStore } from '../../../src/store/open.ts';
import { entry, load, makeFixture } from '../../support/store-fixture.ts';

test('a start that takes long says how far it is, and one that does not says nothing', async () => {
  const fixture = makeFixture();
  const store = await fixture.open();
  await store.putMetadata(
    load,
    Array.from({ length: 9_000 }, (_, at) => entry(String(at), 1)),
  );
  await store.close();
  const told = async (msALook: number): Promise<string[]> => {
    const said: string[] = [];
    let ms = 1_800_000_000_000;
    const now = (): number => (ms += msALook);
    const again = await openLocalStore({ ...fixture.options, now, tellStart: (status) => said.push(status) });
    await again.close();
    return said;
  };
  expect(await told(2000)).toEqual([
    'the index of the store is read: 4096 of 9000 rows',
    'the index of the store is read: 8192 of 9000 rows',
  ]);
  expect(await told(0)).toEqual([]);
  fixture.remove();
});
