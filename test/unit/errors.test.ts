/** A row of the catalogue is a promise of a name: the product makes such errors, and some test expects the name. */
import { expect, test } from 'vitest';
import { errorCatalogue } from '../../src/core/errors.ts';
import { nodesOf, type Tree, type TreeNode, treeOf, treesOf } from '../support/source-tree.ts';

const codes = Object.keys(errorCatalogue);
const isMade = (node: TreeNode): boolean => node.type === 'NewExpression' && node.callee.name === 'PrimedError';

/** Texts and patterns below a node, without those in which an error is made. */
const textsIn = (node: TreeNode): string[] =>
  [...nodesOf(node, (one) => !isMade(one))]
    .filter(({ type }) => type === 'Literal' || type === 'TemplateElement')
    .map(({ value, regex }) => String(regex?.pattern ?? value?.cooked ?? value));

/** What stands where an error is made, and in tables from other words to codes. The client's table repeats the server's. */
function codesMade({ file, root }: Tree): string[] {
  return [...nodesOf(root)].flatMap((node) => {
    if (isMade(node)) return textsIn(node.arguments[0]);
    return node.type === 'Property' && !file.startsWith('src/client/') ? textsIn(node.value) : [];
  });
}

/** `expect(…)`, and whatever follows it by dots. */
function isExpectation({ type, name, callee, object }: TreeNode): boolean {
  if (type === 'CallExpression') return isExpectation(callee);
  return type === 'MemberExpression' ? isExpectation(object) : name === 'expect';
}

/** What stands in the arguments of matchers, of helpers that are named `expect…`, and in tables of cases. */
function textsExpected(root: TreeNode): string[] {
  return [...nodesOf(root)]
    .filter(({ type }) => type === 'CallExpression')
    .filter(({ callee }) =>
      callee.type === 'MemberExpression'
        ? isExpectation(callee.object) || callee.property.name === 'each'
        : /^expect[A-Z]/.test(callee.name),
    )
    .flatMap((call) => (call.arguments as TreeNode[]).flatMap(textsIn));
}

const absentFrom = (texts: readonly string[]): string[] =>
  codes.filter((code) => !texts.some((text) => new RegExp(`\\b${code}\\b`).test(text)));

test('every code is made by the product', () => {
  const sources = treesOf('src').filter(({ file }) => file !== 'src/core/errors.ts');
  expect(absentFrom(sources.flatMap(codesMade))).toEqual([]);
});

test('every code is expected by a test', () => {
  const tests = treesOf('test').filter(({ file }) => file.endsWith('.test.ts') && file !== 'test/unit/errors.test.ts');
  expect(absentFrom(tests.flatMap(({ root }) => textsExpected(root)))).toEqual([]);
});

test('a comment, a title, a comparison or an error that a test makes itself is none of these', () => {
  const root = treeOf(`
    // STORE_IO
    it('STORE_LOCKED', () => {
      if (error.code === 'STOPPED') throw new PrimedError(lost ? 'JOB_LIMIT' : 'TOO_BUSY', 'INTERNAL');
      expect(codeOf('PATH_INVALID')).rejects.not.toThrow(/^STORE_FOREIGN/, [new PrimedError('STOPPING', '')]);
    });
    const table = { full: 'STORE_NO_ROOM' };
    await expectRefusal('STORE_VERSION');
    test.each(['RANGE_INVALID'])('%s', () => {});`);
  expect(codesMade({ file: 'src/x.ts', root })).toEqual(['JOB_LIMIT', 'TOO_BUSY', 'STOPPING', 'STORE_NO_ROOM']);
  expect(codesMade({ file: 'src/client/x.ts', root })).not.toContain('STORE_NO_ROOM');
  expect(textsExpected(root)).toEqual(['^STORE_FOREIGN', 'STORE_VERSION', 'RANGE_INVALID']);
});
