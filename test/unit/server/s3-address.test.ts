import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../../src/server/s3/address.ts';

const raw = (text: string) => Buffer.from(text).toString('latin1');

describe('a request target', () => {
  it.each([
    ['/', '', ''],
    ['/b', 'b', ''],
    ['/b/', 'b', ''],
    ['/b/k', 'b', 'k'],
    ['/b/dir/', 'b', 'dir/'],
    ['/b//k', 'b', '/k'],
    ['/b/a//b', 'b', 'a//b'],
    ['/b/../x', 'b', '../x'],
    ['/b/./x/..', 'b', './x/..'],
    ['/b/a+b', 'b', 'a+b'],
    ['/b/a%2Bb', 'b', 'a+b'],
    ['/b/a%20b', 'b', 'a b'],
    ['/b/a%2520b', 'b', 'a%20b'],
    ['/b/a%2Fb', 'b', 'a/b'],
    ['/b/100%', 'b', '100%'],
    ['/b/%zz%4', 'b', '%zz%4'],
    ['/b/%C3%A9', 'b', 'é'],
    ['/b/a;b=c', 'b', 'a;b=c'],
    ['/b/%EF%BB%BFbom', 'b', '\ufeffbom'],
    ['http://host:1234/b/k', 'b', 'k'],
  ])('%s', (target, bucket, key) => {
    expect(parseAddress(target)).toMatchObject({ bucket, key });
  });

  it('that is not encoded at all is taken as UTF-8', () => {
    expect(parseAddress(raw('/b/naïve-日本')).key).toBe('naïve-日本');
  });

  it('has a query of its own rules', () => {
    const { key, query } = parseAddress('/b/k?x-id=GetObject&prefix=a+b%2Bc&empty=&bare&prefix=second');
    expect(key).toBe('k');
    expect(Object.fromEntries(query)).toEqual({ 'x-id': 'GetObject', prefix: 'a b+c', empty: '', bare: '' });
  });

  it('that is not UTF-8 is refused', () => {
    expect(() => parseAddress('/b/%ff')).toThrow(/UTF-8/);
  });

  it('with a key over 1024 bytes is refused', () => {
    expect(parseAddress(`/b/${'k'.repeat(1024)}`).key).toHaveLength(1024);
    expect(() => parseAddress(`/b/${'k'.repeat(1025)}`)).toThrow(/too long/);
  });
});
