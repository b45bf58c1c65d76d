/**
 * A file filter that cannot hang the coordinator. Backtracking can take exponential time on a name of 200 characters,
 * and no static check finds all such patterns: so each page of names is matched under V8's own time limit.
 */
import { createContext, Script } from 'node:vm';
import { PrimedError } from '../core/errors.ts';
import { baseName, compileFileFilter } from '../core/file-filter.ts';

/** A page of 1,000 names takes well below a millisecond with an ordinary pattern. */
const pageLimitMs = 1000;

const script = new Script('matchAll()');

/**
 * Which of a page of paths pass the pattern; undefined pattern: all. Throws REQUEST_INVALID for a pattern that is wrong
 * or takes longer than a second for one page.
 */
export function boundedFilter(pattern: string | undefined): (paths: readonly string[]) => readonly boolean[] {
  if (pattern === undefined) return (paths) => paths.map(() => true);
  const regex = compileFileFilter(pattern);
  let names: readonly string[] = [];
  let matches: boolean[] = [];
  const context = createContext({
    matchAll: () => {
      matches = names.map((name) => regex.test(name));
    },
  });
  return (paths) => {
    names = paths.map(baseName);
    try {
      script.runInContext(context, { timeout: pageLimitMs });
    } catch (cause) {
      const longest = names.reduce((a, b) => (b.length > a.length ? b : a), '');
      throw new PrimedError(
        'REQUEST_INVALID',
        `fileFilterRegx: '${pattern}' takes longer than ${pageLimitMs} ms for ${names.length} names (the longest has ${longest.length} characters); nested repetitions are the usual reason.`,
        { field: 'fileFilterRegx' },
        { cause },
      );
    }
    return matches;
  };
}
