/** What a certificate calls itself, and which role it has for that. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { certificateCaller, namesOf } from '../../../src/core/certificates.ts';

test('names are its common name and its alternative names, whatever is in them', () => {
  const alternative =
    'DNS:a.example, IP Address:127.0.0.1, email:alice@example.org, URI:"spiffe://x/a,b", DirName:CN=root';
  expect(namesOf({ commonName: 'alice', alternative })).toEqual([
    'CN=alice',
    'DNS:a.example',
    'email:alice@example.org',
    'URI:spiffe://x/a,b',
  ]);
  expect(namesOf({ commonName: ['alice', 'root'], alternative: undefined })).toEqual([]);
  expect(namesOf({ commonName: undefined, alternative: '' })).toEqual([]);
});

test('no name can pretend to be another one', () => {
  // As Node writes them: what has a comma, a quote or a colon at its end is a JSON text.
  const written = (value: string): string => (/[,"\\\s]/.test(value) ? JSON.stringify(value) : value);
  fc.assert(
    fc.property(fc.array(fc.string({ minLength: 1 }), { maxLength: 5 }), (values) => {
      const alternative = values.map((value) => `DNS:${written(value)}`).join(', ');
      expect(namesOf({ commonName: undefined, alternative })).toEqual(values.map((value) => `DNS:${value}`));
    }),
  );
});

test('the first entry that names it says its role; one that none names has none', () => {
  const known = [
    { subject: 'CN=alice', role: 'read' },
    { subject: 'email:alice@example.org', role: 'admin' },
  ] as const;
  expect(certificateCaller(['CN=alice', 'email:alice@example.org'], known)).toEqual({ name: 'CN=alice', role: 'read' });
  expect(certificateCaller(['CN=Alice'], known)).toEqual({ name: 'CN=Alice', role: undefined });
  expect(certificateCaller([], known)).toEqual({ name: 'a certificate without a name', role: undefined });
});
