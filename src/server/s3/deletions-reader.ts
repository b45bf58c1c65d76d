/**
 * Reads the document of DeleteObjects as it arrives, and refuses at the first character that S3's schema does not have there:
 *
 * ```
 *  <?xml …?> <Delete> (<Object> Key [VersionId] [ETag] [LastModifiedTime] [Size] </Object>){1,1000} [Quiet] </Delete>
 * ```
 *
 * Elements are looked at once, in the order in which they come, and none is kept but the values of keys: so the time goes by the
 * length of the document, whatever is in it, and the caller may let others have the thread between any two pieces.
 */
import assert from 'node:assert/strict';
import { keyLimitBytes } from './address.ts';
import { S3Error } from './errors.ts';

export interface Deletion {
  readonly key: string;
  readonly versionId?: string;
  /** The object is deleted only if it has them. */
  readonly etag?: string;
  readonly lastModifiedTime?: string;
  readonly size?: string;
}

/** What an Object may have, in the order of S3's schema. */
export const deletionElements = [
  ['Key', 'key'],
  ['VersionId', 'versionId'],
  ['ETag', 'etag'],
  ['LastModifiedTime', 'lastModifiedTime'],
  ['Size', 'size'],
] as const satisfies readonly (readonly [string, keyof Deletion])[];

const mostKeys = 1000;
/** `&quot;`, `&#x1f;`: what a byte of a key becomes that has to be written as a reference. */
const referenceBytes = 6;
/** Of a version, as S3 gives them, and of the conditions. */
const besideKeyBytes = 1024;
const markupBytes = 1024;
/** The largest document with a meaning: 1,000 keys of 1,024 bytes, each byte a reference. */
export const deletionsLimitBytes = mostKeys * (keyLimitBytes * referenceBytes + besideKeyBytes + markupBytes);

/** `&#x000026;`, the longest reference that is understood: no value that is allowed is longer. */
const mostValueLength = keyLimitBytes * 10;
const mostTagLength = 1024;
const tagShape = /^<(\/?)([A-Za-z][\w.-]*)((?:\s+[A-Za-z_][\w.:-]*\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>$/;
const otherEncoding = /\sencoding\s*=\s*["'](?!utf-8["'])/i;
const fields: ReadonlyMap<string, keyof Deletion> = new Map(deletionElements);

export class DeletionsReader {
  readonly #utf8 = new TextDecoder('utf-8', { fatal: true });
  readonly #objects: Deletion[] = [];
  /** Names of the elements that are open, from Delete inwards. */
  readonly #open: string[] = [];
  /** A tag whose end has not come yet. */
  #rest = '';
  #started = false;
  #isOver = false;
  #object: Partial<Record<keyof Deletion, string>> = {};
  #value = '';
  #quiet: string | undefined;

  /** Throws S3Error MalformedXML, KeyTooLongError. */
  push(bytes: Uint8Array): void {
    this.#read(this.#decoded(bytes));
  }

  /** Throws S3Error MalformedXML where the document has no end. */
  end(): { readonly objects: readonly Deletion[]; readonly quiet: boolean } {
    this.#read(this.#decoded());
    if (!this.#isOver || this.#rest !== '' || this.#objects.length === 0) throw malformed();
    return { objects: this.#objects, quiet: this.#quiet?.trim() === 'true' };
  }

  #decoded(bytes?: Uint8Array): string {
    try {
      return bytes === undefined ? this.#utf8.decode() : this.#utf8.decode(bytes, { stream: true });
    } catch {
      throw malformed();
    }
  }

  #read(text: string): void {
    const all = this.#rest + text;
    this.#rest = '';
    for (let at = 0; at < all.length; ) {
      const from = all.indexOf('<', at);
      this.#characters(from < 0 ? all.slice(at) : all.slice(at, from));
      if (from < 0) return;
      const end = all.indexOf('>', from);
      const length = (end < 0 ? all.length : end + 1) - from;
      if (length > mostTagLength) throw malformed();
      if (end < 0) {
        this.#rest = all.slice(from);
        return;
      }
      this.#tag(all.slice(from, end + 1));
      at = end + 1;
    }
  }

  #characters(text: string): void {
    if (isValue(this.#open)) {
      this.#value += text;
      if (this.#value.length > mostValueLength) throw malformed();
    } else if (/[^ \t\r\n]/.test(text)) throw malformed();
  }

  #tag(tag: string): void {
    // Nothing else may be told to whoever reads it: a document type could give names to anything.
    if (!this.#started && tag.startsWith('<?xml ') && tag.endsWith('?>') && !otherEncoding.test(tag)) {
      this.#started = true;
      return;
    }
    this.#started = true;
    const [, closes, name, , closesItself] = tagShape.exec(tag) ?? [];
    if (name === undefined || this.#isOver) throw malformed();
    if (closes === '/') {
      if (tag.includes('=') || closesItself === '/' || this.#open.at(-1) !== name) throw malformed();
      this.#closed(name);
      return;
    }
    this.#opened(name);
    if (closesItself === '/') this.#closed(name);
  }

  #opened(name: string): void {
    const where = this.#open.join('/');
    const fits =
      where === 'Delete/Object'
        ? fields.has(name) && this.#object[fields.get(name)!] === undefined
        : where === 'Delete'
          ? (name === 'Object' && this.#objects.length < mostKeys) || (name === 'Quiet' && this.#quiet === undefined)
          : where === '' && name === 'Delete';
    if (!fits) throw malformed();
    this.#open.push(name);
    this.#value = '';
  }

  #closed(name: string): void {
    this.#open.pop();
    if (name === 'Delete') this.#isOver = true;
    else if (name === 'Quiet') this.#quiet = plain(this.#value);
    else if (name === 'Object') {
      const { key } = this.#object;
      if (key === undefined || key === '') throw malformed();
      this.#objects.push({ ...this.#object, key });
      this.#object = {};
    } else {
      const field = fields.get(name);
      assert(field !== undefined, 'what was opened is known');
      this.#object[field] = plain(this.#value);
      if (Buffer.byteLength(this.#object[field]) > keyLimitBytes) throw field === 'key' ? tooLong() : malformed();
    }
  }
}

function isValue(open: readonly string[]): boolean {
  return open.length === 3 || open[1] === 'Quiet';
}

const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
const mostCodePoint = 0x10ffff;

/** Throws S3Error for a reference that is none: a key is read as it is meant, or not at all. */
function plain(written: string): string {
  return written.replace(/&([^;&]*);?/g, (whole, name: string) => {
    const character = Object.hasOwn(named, name) ? named[name] : numbered(name);
    if (character === undefined || !whole.endsWith(';')) throw malformed();
    return character;
  });
}

function numbered(name: string): string | undefined {
  const [, hex, decimal] = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))$/.exec(name) ?? [];
  const code = hex === undefined ? Number(decimal ?? Number.NaN) : Number.parseInt(hex, 16);
  const isHalf = code >= 0xd800 && code <= 0xdfff;
  return code <= mostCodePoint && !isHalf ? String.fromCodePoint(code) : undefined;
}

function tooLong(): S3Error {
  return new S3Error('KeyTooLongError', `Your key is too long: at most ${keyLimitBytes} bytes.`);
}

export function malformed(): S3Error {
  return new S3Error(
    'MalformedXML',
    'The XML you provided was not well-formed or did not validate against our published schema.',
  );
}
