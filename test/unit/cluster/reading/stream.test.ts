/** Reading a range from several holders that fail: every byte once, in order, or an error. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readThrough, type Source } from '../../../../src/cluster/reading/stream.ts';
import { PrimedError } from '../../../../src/core/errors.ts';
import type { Holding, Piece } from '../../../../src/core/holdings.ts';
import { MiB } from '../../../../src/core/units.ts';

const content = Buffer.from(Array.from({ length: 1000 }, (_, at) => (at * 7 + (at >> 3)) & 255));
const all = [{ offset: 0, length: content.length }];

/** What a holder does with a piece: how many bytes it gives before it fails, or ends early. */
type Act = { readonly gives: number; readonly end: 'fails' | 'ends' } | 'works' | 'busy';

class Script implements Source {
  readonly opened: Piece[] = [];
  readonly failures: string[] = [];
  closed = 0;
  begun = 0;
  more: (() => void) | undefined;
  held: Holding[];
  readonly act: (piece: Piece, time: number) => Act;

  constructor(holders: readonly string[], act: (piece: Piece, time: number) => Act) {
    this.held = holders.map((holder) => ({ holder, ranges: all }));
    this.act = act;
  }

  holdings(): readonly Holding[] {
    return this.held;
  }

  async open(piece: Piece): Promise<AsyncIterable<Uint8Array>> {
    const act = this.act(piece, this.opened.push(piece) - 1);
    if (act === 'busy') throw new PrimedError('TOO_BUSY', 'no turn');
    const self = this;
    return (async function* () {
      self.begun += 1;
      try {
        const end = act === 'works' ? piece.length : Math.min(piece.length, act.gives);
        for (let at = 0; at < end; at += 64)
          yield content.subarray(piece.offset + at, piece.offset + Math.min(end, at + 64));
        if (act !== 'works' && act.end === 'fails') throw new PrimedError('PEER_FAILED', `${piece.holder} is gone`);
      } finally {
        self.closed += 1;
      }
    })();
  }

  async askMore(): Promise<void> {
    this.more?.();
  }

  onFailure({ piece }: { piece: Piece }): void {
    this.failures.push(piece.holder);
  }
}

async function read(source: Source, offset = 0, length = content.length): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const bytes of readThrough(source, { offset, length })) pieces.push(Buffer.from(bytes));
  return Buffer.concat(pieces);
}

it('goes on with another holder at the byte where the first one broke off', async () => {
  const script = new Script(['a', 'b'], ({ holder }) => (holder === 'a' ? { gives: 300, end: 'fails' } : 'works'));
  expect(await read(script, 10, 900)).toEqual(content.subarray(10, 910));
  expect(script.opened).toEqual([
    { holder: 'a', offset: 10, length: 900 },
    { holder: 'b', offset: 310, length: 600 },
  ]);
  expect([script.failures, script.closed]).toEqual([['a'], script.begun]);
});

it('takes an early end for a failure, and asks who else has it when nobody is left', async () => {
  const script = new Script(['a'], ({ holder }) => (holder === 'a' ? { gives: 100, end: 'ends' } : 'works'));
  script.more = () => {
    script.held = [...script.held, { holder: 'late', ranges: all }];
  };
  script.held = [{ holder: 'a', ranges: [{ offset: 0, length: 500 }] }];
  expect(await read(script)).toEqual(content);
  expect(script.opened.at(-1)).toEqual({ holder: 'late', offset: 500, length: 500 });
});

it('ends with the last failure when nobody has the byte, and what came before is right', async () => {
  const script = new Script(['a', 'b'], ({ offset }) =>
    offset < 400 ? { gives: 400 - offset, end: 'fails' } : { gives: 0, end: 'fails' },
  );
  const got: Uint8Array[] = [];
  await expect(
    (async () => {
      for await (const bytes of readThrough(script, { offset: 0, length: 1000 })) got.push(bytes);
    })(),
  ).rejects.toMatchObject({ code: 'PEER_FAILED' });
  expect(Buffer.concat(got)).toEqual(content.subarray(0, 400));
  const nobody = new Script([], () => 'works');
  await expect(read(nobody)).rejects.toMatchObject({ code: 'FILE_NOT_CACHED' });
});

it('waits for a holder that has no turn', async () => {
  const script = new Script(['a'], (_, time) => (time < 5 ? 'busy' : 'works'));
  expect(await read(script)).toEqual(content);
});

it('a reader that leaves closes what is under way, and what was asked for ahead', async () => {
  const script = new Script(['a', 'b'], () => 'works');
  script.held = [
    { holder: 'a', ranges: [{ offset: 0, length: 500 }] },
    { holder: 'b', ranges: [{ offset: 500, length: 500 }] },
  ];
  for await (const bytes of readThrough(script, { offset: 0, length: 1000 })) {
    expect(bytes.length).toBeGreaterThan(0);
    break;
  }
  expect(script.opened.map(({ holder }) => holder)).toEqual(['a', 'b']);
  expect(script.closed).toBe(script.begun);
});

it('whatever fails when, what is given is a beginning of the range, and the whole of it unless it rejects', async () => {
  const act: fc.Arbitrary<Act> = fc.oneof(
    fc.constant('works' as const),
    fc.record({ gives: fc.nat(400), end: fc.constantFrom('fails' as const, 'ends' as const) }),
  );
  const part = fc.record({ offset: fc.nat(999), length: fc.integer({ min: 1, max: 1000 }) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(act, { maxLength: 12 }),
      fc.array(fc.array(part, { maxLength: 3 }), { maxLength: 3 }),
      async (acts, held) => {
        const script = new Script([], (_, time) => acts[time] ?? 'works');
        script.held = held.map((parts, place) => ({
          holder: String(place),
          ranges: parts
            .map(({ offset, length }) => ({ offset, length: Math.min(length, 1000 - offset) }))
            .sort((a, b) => a.offset - b.offset)
            .filter((one, at, some) => at === 0 || some[at - 1]!.offset + some[at - 1]!.length < one.offset),
        }));
        script.more = () => {
          script.held = [...script.held, { holder: 'last', ranges: all }];
        };
        const got: Uint8Array[] = [];
        let failed = false;
        try {
          for await (const bytes of readThrough(script, { offset: 3, length: 990 })) got.push(Buffer.from(bytes));
        } catch {
          failed = true;
        }
        const bytes = Buffer.concat(got);
        expect(bytes).toEqual(content.subarray(3, 3 + bytes.length));
        if (!failed) expect(bytes.length).toBe(990);
        expect(script.closed).toBe(script.begun);
      },
    ),
    { numRuns: 200 },
  );
});

it('of a long piece the next one is not asked for before the end is near', async () => {
  const long = 64 * MiB;
  let opened = 0;
  const source: Source = {
    holdings: () => [
      { holder: 'a', ranges: [{ offset: 0, length: long }] },
      { holder: 'b', ranges: [{ offset: long, length: long }] },
    ],
    async open(piece) {
      opened += 1;
      return (async function* () {
        for (let at = 0; at < piece.length; at += MiB) yield Buffer.alloc(MiB);
      })();
    },
    askMore: async () => undefined,
    onFailure: () => undefined,
  };
  let bytes = 0;
  for await (const some of readThrough(source, { offset: 0, length: 2 * long })) {
    bytes += some.length;
    if (bytes < long - 8 * MiB) expect(opened).toBe(1);
    if (bytes === long) expect(opened).toBe(2);
  }
  expect([bytes, opened]).toEqual([2 * long, 2]);
});
