/**
 * The document of DeleteObjects. What is passed on is written anew from what was read: so what a key was allowed to delete and what the
 * origin takes the document for cannot differ.
 */
import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { S3Error } from './errors.ts';
import { document, element, s3Namespace } from './xml.ts';

export interface Deletion {
  readonly key: string;
  readonly versionId?: string;
}

/** A key that is not passed on to the origin, and why. */
export interface RefusedDeletion extends Deletion {
  readonly error: S3Error;
}

/** 1,000 keys of 1,024 bytes, of which each may be written as a reference. */
export const deletionsLimitBytes = 8 * 1024 * 1024;
const mostKeys = 1000;

const parser = new XMLParser({
  ignoreAttributes: true,
  parseTagValue: false,
  trimValues: false,
  // It leaves out characters that XML has not, and keys may have: references are resolved here.
  processEntities: false,
  isArray: (name) => name === 'Object',
});

/** Throws S3Error MalformedXML. */
export function deletionsOf(text: string): { readonly objects: readonly Deletion[]; readonly quiet: boolean } {
  // A document type could give names to anything.
  if (text.includes('<!') || XMLValidator.validate(text) !== true) throw malformed();
  const { Delete } = parsed(text);
  const objects = (Delete?.Object ?? []).map((one) => {
    const { Key, VersionId } = one as { Key?: unknown; VersionId?: unknown };
    if (typeof Key !== 'string' || Key === '') throw malformed();
    return { key: plain(Key), ...(typeof VersionId === 'string' ? { versionId: plain(VersionId) } : {}) };
  });
  if (objects.length === 0 || objects.length > mostKeys) throw malformed();
  return { objects, quiet: String(Delete?.Quiet ?? '').trim() === 'true' };
}

/** Elements may lie too deep in each other for the parser. */
function parsed(text: string): { Delete?: { Object?: unknown[]; Quiet?: unknown } } {
  try {
    return parser.parse(text);
  } catch {
    throw malformed();
  }
}

export function deletionsXml(objects: readonly Deletion[], quiet: boolean): string {
  const rows = objects.map(
    ({ key, versionId }) =>
      `<Object>${element('Key', key)}${versionId === undefined ? '' : element('VersionId', versionId)}</Object>`,
  );
  return document(`<Delete xmlns="${s3Namespace}">${rows.join('')}${element('Quiet', quiet)}</Delete>`);
}

/** An answer of an origin that was asked for nothing. */
export const noDeletions = document(`<DeleteResult xmlns="${s3Namespace}"></DeleteResult>`);

const resultEnd = /<\/(\w+:)?DeleteResult\s*>\s*$/;
const resultEmpty = /<((?:\w+:)?DeleteResult)([^>]*?)\/>\s*$/;

/** The answer of an origin with an Error for each key that it was not asked for. Throws S3Error where it is no such answer. */
export function withRefused(answer: string, refused: readonly RefusedDeletion[]): string {
  const whole = answer.replace(resultEmpty, '<$1$2></$1>');
  const end = resultEnd.exec(whole);
  if (end === null)
    throw new S3Error('InternalError', 'The origin answered a deletion with something else than a DeleteResult.');
  const prefix = end[1] ?? '';
  const rows = refused.map(({ key, versionId, error }) => {
    const facts = [
      ['Key', key],
      ...(versionId === undefined ? [] : [['VersionId', versionId]]),
      ['Code', error.code],
      ['Message', error.message],
    ] as [string, string][];
    return `<${prefix}Error>${facts.map(([name, text]) => element(`${prefix}${name}`, text)).join('')}</${prefix}Error>`;
  });
  return whole.slice(0, end.index) + rows.join('') + whole.slice(end.index);
}

const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
const mostCodePoint = 0x10ffff;

/** Throws S3Error for a reference that is none: a key is read as it is meant, or not at all. */
function plain(written: string): string {
  return written.replace(/&([^;&]*);?/g, (whole, name: string) => {
    const [, hex, decimal] = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))$/.exec(name) ?? [];
    const code = hex === undefined ? Number(decimal ?? Number.NaN) : Number.parseInt(hex, 16);
    const character =
      code <= mostCodePoint ? String.fromCodePoint(code) : Object.hasOwn(named, name) ? named[name] : undefined;
    if (character === undefined || !whole.endsWith(';')) throw malformed();
    return character;
  });
}

function malformed(): S3Error {
  return new S3Error(
    'MalformedXML',
    'The XML you provided was not well-formed or did not validate against our published schema.',
  );
}
