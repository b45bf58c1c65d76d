import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cutInMiddle, inOrder, printable } from '../../../src/core/text.ts';

test('what fits stays as it is', () => {
  expect(cutInMiddle('0123456789', 10)).toBe('0123456789');
  expect(cutInMiddle('', 10)).toBe('');
});

test('what does not has its beginning and its end', () => {
  expect(cutInMiddle('0123456789abcdef', 14)).toBe('012345 ... def');
});

test('whatever the text, it is no longer than said, ends as the text does, and no character is halved', () => {
  const anyText = fc.string({ unit: fc.constantFrom('a', 'é', '😀', '\u202e'), maxLength: 200 });
  fc.assert(
    fc.property(anyText, fc.integer({ min: 10, max: 100 }), (text, most) => {
      const cut = cutInMiddle(text, most);
      expect(cut.length).toBeLessThanOrEqual(most);
      expect(Buffer.from(cut).toString()).toBe(cut);
      const [head, tail] = text.length <= most ? [text, ''] : (cut.split(' ... ') as [string, string]);
      expect(text.startsWith(head) && text.endsWith(tail)).toBe(true);
    }),
  );
});

test('what ends lines, commands terminals or turns the order of a name is written out; scripts and emoji stay', () => {
  const name = 'a\u202eb\u2066\n\u001b[2J\u2028';
  expect(printable(name)).toBe('a\\u202eb\\u2066\\u000a\\u001b[2J\\u2028');
  expect(inOrder('a\u202eb\u2069\n')).toBe('a\\u202eb\\u2069\n');
  for (const whole of ['مرحبا بالعالم.bin', '👩‍👩‍👧.bin', 'שלום\u200f'])
    expect([printable(whole), inOrder(whole)]).toEqual([whole, whole]);
});
