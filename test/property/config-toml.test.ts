/** Lines of a TOML text, whatever its layout: each key is found where it was written, with its value. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { plainOf, readToml, type TomlNode, TomlProblem } from '../../src/config/toml.ts';

interface Written {
  /** What stands behind the equals sign; may have several lines. */
  readonly text: string;
  readonly value: unknown;
}

/** Texts that look like other things in TOML. */
const word = fc.constantFrom('plain', 'a # b', 'x = 1', '[table]', '[[array]]', "it's", '"""', '\\', 'ä€😀', '');
const basic = word.map((value): Written => ({ text: JSON.stringify(value), value }));
const literal = word.filter((value) => !value.includes("'")).map((value): Written => ({ text: `'${value}'`, value }));
const number = fc.constantFrom<Written>(
  { text: '1_000', value: 1000 },
  { text: '0x1F', value: 31 },
  { text: '-2.5e1', value: -25 },
  { text: 'true', value: true },
);
const manyLines = fc.constantFrom<Written>(
  { text: '"""\nkey = 1\n[no.table]\n"""', value: 'key = 1\n[no.table]\n' },
  { text: "'''one\n# no comment\nthree'''", value: 'one\n# no comment\nthree' },
  { text: '[ # first\n  1, 2,\n  # = between\n  3,\n]', value: [1, 2, 3] },
  { text: '["a=b", "#", [\n"c"]]', value: ['a=b', '#', ['c']] },
);
const inline = fc.constantFrom<Written>({ text: '{ a = 1, "b.c" = { d = "}" } }', value: { a: 1, 'b.c': { d: '}' } } });
const value = fc.oneof(basic, literal, number, manyLines, inline);
const gap = fc.array(fc.constantFrom('', '   ', '\t', '# comment = 1', '  # [table]'), { maxLength: 3 });
const key = fc.constantFrom<(unique: string) => { text: string; names: string[] }>(
  (unique) => ({ text: unique, names: [unique] }),
  (unique) => ({ text: `"${unique} # = ["`, names: [`${unique} # = [`] }),
  (unique) => ({ text: `'${unique}.x'`, names: [`${unique}.x`] }),
  (unique) => ({ text: `${unique} . "in ner".z`, names: [unique, 'in ner', 'z'] }),
);
const pair = fc.record({
  key,
  value,
  gap,
  indent: fc.constantFrom('', '  ', '\t'),
  tail: fc.constantFrom('', ' # = [x]'),
});
const section = fc.record({
  head: fc.constantFrom('table', 'array', 'nested'),
  gap,
  pairs: fc.array(pair, { maxLength: 4 }),
});
const layout = fc.record({
  top: fc.array(pair, { maxLength: 4 }),
  sections: fc.array(section, { maxLength: 5 }),
  newline: fc.constantFrom('\n', '\r\n'),
  mark: fc.constantFrom('', '\uFEFF'),
});

interface Expected {
  readonly path: readonly (string | number)[];
  readonly line: number;
  readonly value: unknown;
}

function write({ top, sections, newline, mark }: typeof layout extends fc.Arbitrary<infer L> ? L : never) {
  const lines: string[] = [];
  const expected: Expected[] = [];
  let made = 0;
  const writePairs = (pairs: typeof top, path: readonly (string | number)[]): void => {
    for (const { key: keyOf, value: written, gap: before, indent, tail } of pairs) {
      lines.push(...before);
      made += 1;
      const { text, names } = keyOf(`k${made}`);
      expected.push({ path: [...path, ...names], line: lines.length + 1, value: written.value });
      lines.push(...`${indent}${text} = ${written.text}${tail}`.split('\n'));
    }
  };
  writePairs(top, []);
  let entries = 0;
  sections.forEach(({ head, gap: before, pairs }, index) => {
    lines.push(...before);
    if (head === 'array') {
      lines.push('[[ list . "of" ]] # again');
      writePairs(pairs, ['list', 'of', entries]);
      entries += 1;
    } else if (head === 'nested' && entries > 0) {
      lines.push(`[list.of.t${index}]`);
      writePairs(pairs, ['list', 'of', entries - 1, `t${index}`]);
    } else {
      lines.push(`[t${index}.'u v']`);
      writePairs(pairs, [`t${index}`, 'u v']);
    }
  });
  return { text: mark + lines.join(newline), expected, newline };
}

function at(root: TomlNode, path: readonly (string | number)[]): TomlNode | undefined {
  return path.reduce<TomlNode | undefined>((node, step) => {
    if (typeof step === 'number') return node?.kind === 'array' ? node.items[step] : undefined;
    return node?.kind === 'table' ? node.entries.get(step) : undefined;
  }, root);
}

test('every key is at its line, with its value', () => {
  fc.assert(
    fc.property(layout, (given) => {
      const { text, expected, newline } = write(given);
      const root = readToml(text);
      for (const { path, line, value: wanted } of expected) {
        const node = at(root, path);
        expect({ path, line: node?.line }).toEqual({ path, line });
        // A line end within a text is the one of the file.
        const read = JSON.stringify(plainOf(node!)).replaceAll(newline === '\r\n' ? '\\r\\n' : '\\n', '\\n');
        expect(JSON.parse(read)).toEqual(wanted);
      }
    }),
    { numRuns: 500 },
  );
});

test('a line that is no TOML is named, wherever it is', () => {
  const broken = fc.constantFrom('no equals', 'x = ', '= 1', 'y = [1', 'z = "open', '[unclosed', 'a = 1 b = 2');
  fc.assert(
    fc.property(layout, broken, (given, line) => {
      const { text, newline } = write({ ...given, sections: [] });
      const at = text === '' ? 1 : text.split('\n').length + 1;
      const whole = `${text}${text === '' || text === '\uFEFF' ? '' : newline}${line}`;
      expect(() => readToml(whole)).toThrow(TomlProblem);
      try {
        readToml(whole);
      } catch (error) {
        expect((error as TomlProblem).line).toBe(text === '\uFEFF' ? 1 : at);
      }
    }),
    { numRuns: 200 },
  );
});

test.each([
  ['a = 1\nb = 2\na = 3', 3],
  ['[t]\na = 1\n\n[t]', 4],
  ['t.a = 1\n[t]\nb = 1', 2],
  ['[[t]]\n[t]', 2],
  ['i = { a = 1, a = 2 }', 1],
])('a key that is there twice is refused at its second place: %j', (text, line) => {
  expect(() => readToml(text)).toThrow(expect.objectContaining({ line }));
});

test('names of the language are names like others', () => {
  const root = readToml('__proto__ = 1\nconstructor.prototype = 2');
  expect([...root.entries.keys()]).toEqual(['__proto__', 'constructor']);
  expect(({} as Record<string, unknown>).prototype).toBeUndefined();
});
