/** The regex filter of a load: which files of a listing are kept, by base name. */
import { PrimedError } from './errors.ts';

/** Longest pattern that is accepted, in characters: long enough for an alternation of some dozen names. */
export const maxPatternLength = 1000;

/**
 * A filter that keeps files whose base name matches the whole pattern. Patterns are JavaScript regular expressions in
 * Unicode mode, so a wrong escape is an error, never a literal. Throws REQUEST_INVALID, naming `field`.
 *
 * A pattern can be correct and still take exponential time; whoever applies it to names of others does so within a
 * time limit (see cluster/bounded-filter.ts).
 */
export function compileFileFilter(pattern: string, field = 'fileFilterRegx'): RegExp {
  if (pattern.length > maxPatternLength) {
    throw new PrimedError(
      'REQUEST_INVALID',
      `${field}: the pattern has ${pattern.length} characters, at most ${maxPatternLength} are accepted.`,
      { field },
    );
  }
  try {
    // On its own first: `a)|(b` compiles once it is wrapped in a group, and means something else there.
    new RegExp(pattern, 'u');
    return new RegExp(`^(?:${pattern})$`, 'u');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PrimedError(
      'REQUEST_INVALID',
      `${field}: '${pattern}' is not a regular expression: ${why}`,
      { field },
      { cause },
    );
  }
}

/** The last part of a path: what a file filter looks at. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** Whether the path means a set of paths; keys may hold other special characters, `*` is what Alluxio refuses. */
export function hasWildcard(path: string): boolean {
  return path.includes('*');
}
