/** Which paths lie in which. Of `s3://b/dir` the file of that name and everything below `s3://b/dir/`. */

/** Whether the path is this one, or lies below it. */
export function covers(scope: string, path: string): boolean {
  return path === scope || path.startsWith(scope.endsWith('/') ? scope : `${scope}/`);
}

/** Whether they are the same, or one lies below the other. */
export function overlap(a: string, b: string): boolean {
  return covers(a, b) || covers(b, a);
}
