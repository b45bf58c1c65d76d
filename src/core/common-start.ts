/**
 * What the paths of many files begin with, which is said once where they are stored or sent together. Never splits a surrogate
 * pair: half of one would not survive UTF-8.
 */
export function commonStart(files: readonly { readonly path: string }[]): string {
  let start = files[0]?.path ?? '';
  for (const { path } of files) {
    if (path.startsWith(start)) continue;
    let length = 0;
    while (start.charCodeAt(length) === path.charCodeAt(length)) length += 1;
    start = start.slice(0, length);
  }
  const last = start.charCodeAt(start.length - 1);
  return last >= 0xd800 && last <= 0xdbff ? start.slice(0, -1) : start;
}
