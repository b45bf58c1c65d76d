import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cutInMiddle } from '../../../src/core/text.ts';

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
