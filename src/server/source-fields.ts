/** How requests of the second generation name what is loaded. */
import { type Static, Type } from 'typebox';
import type { JobSource } from '../core/job.ts';
import { onlyOne } from './fields.ts';

const path = Type.Optional(Type.String({ minLength: 1, maxLength: 8192 }));
/** The documentation of the API writes the choice between the two like this; some clients copy it. */
export const sourceFields = { path, indexFile: path, 'path or indexFile': path, 'path || indexFile': path };
const sourceNames = Object.keys(sourceFields) as (keyof typeof sourceFields)[];
const Fields = Type.Object(sourceFields);

/** What is loaded. Throws REQUEST_INVALID unless exactly one field names it. */
export function sourceOf(body: Static<typeof Fields>): JobSource {
  const name = onlyOne(body, sourceNames);
  return { kind: name === 'indexFile' ? 'index' : 'path', path: body[name]! };
}
