/** Keys may hold any character: one that ends a line would forge the next, one that commands the terminal would obey. */
export function printable(text: string): string {
  const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, escaped);
}
