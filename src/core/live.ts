/**
 * What may change while the node runs, because its configuration was read again. Settings of several fields are objects that
 * are changed in place: who uses them reads them at each use. A text by itself has a box.
 */
export type LiveText = string | { readonly now: string };

export function textOf(text: LiveText): string {
  return typeof text === 'string' ? text : text.now;
}

/** For the headers of a request; none where there is no token. */
export function bearer(token: LiveText | undefined): { authorization?: string } {
  return token === undefined ? {} : { authorization: `Bearer ${textOf(token)}` };
}
