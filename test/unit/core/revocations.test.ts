/** Lists of revoked certificates, made by openssl: what they say of which certificate, and what is no list. */
import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { certificatesIn, chainTo } from '../../../src/core/certificate-chain.ts';
import { DerError } from '../../../src/core/der.ts';
import { parseRevocationList, serialOf } from '../../../src/core/revocation-list.ts';
import { Revocations } from '../../../src/core/revocations.ts';
import { type Authority, makeAuthority } from '../../support/certificate.ts';
import { type ListOptions, revocationList } from '../../support/revocation.ts';

const people = makeAuthority('people');
const strangers = makeAuthority('people');
const x509 = ({ cert }: { cert: string }): X509Certificate => new X509Certificate(cert);
const [alice, bob, team] = ['alice', 'bob', 'team'].map((name) => x509(people.sign(name))) as [
  X509Certificate,
  X509Certificate,
  X509Certificate,
];
const listOf = (
  { revoked, ...how }: Omit<ListOptions, 'revoked'> & { readonly revoked: readonly X509Certificate[] },
  by: Authority = people,
): string => revocationList(by, { ...how, revoked: revoked.map(String) });
const ca = new X509Certificate(people.cert);
const derOf = (pem: string): Buffer => Buffer.from(pem.replace(/-----[^-]+-----/g, ''), 'base64');
const nowMs = Date.now();
const said = (pem: string, chain: readonly X509Certificate[], atMs = nowMs, trusted = people.cert) =>
  new Revocations(pem, trusted).problemOf(chain, atMs);

test('who is on the list is revoked, and who is not is not; a list in between counts for what is below', () => {
  const list = listOf({ revoked: [alice, team] });
  expect(said(list, [alice, ca])).toBe('it has been revoked');
  expect(said(list, [bob, ca])).toBeUndefined();
  expect(said(list, [bob, team, ca])).toBe('the CA in between (CN=team) has been revoked');
  expect(said(listOf({ revoked: [] }), [alice, ca])).toBeUndefined();
  const { ends, unsigned } = new Revocations(list, people.cert);
  expect([ends, unsigned]).toEqual([[{ ca: 'people', revoked: 2, endsMs: expect.any(Number) }], []]);
});

test('a list that has ended says of nobody that he is not revoked', () => {
  const list = listOf({ revoked: [alice], seconds: 100 });
  const { endsMs = 0 } = new Revocations(list, people.cert).ends[0]!;
  expect(Math.abs(endsMs - nowMs - 100_000)).toBeLessThan(60_000);
  expect(said(list, [bob, ca], endsMs - 1)).toBeUndefined();
  expect(said(list, [bob, ca], endsMs)).toBe('the revocation list of its CA (people) has ended');
  expect(said(list, [alice, ca], endsMs)).toBe('it has been revoked');
});

test('of two lists of one CA the newer one counts, in either order; those of other CAs stand beside it', () => {
  const [older, newer] = [listOf({ revoked: [alice], seconds: -3600 }), listOf({ revoked: [bob], seconds: 3600 })];
  for (const both of [older + newer, newer + older]) {
    expect(said(both, [bob, ca])).toBe('it has been revoked');
    expect(said(both, [alice, ca])).toBeUndefined();
  }
  const other = makeAuthority('other');
  const dave = x509(other.sign('dave'));
  const two = new Revocations(newer + listOf({ revoked: [dave] }, other), people.cert + other.cert);
  expect(two.problemOf([dave, new X509Certificate(other.cert)], nowMs)).toBe('it has been revoked');
  expect([two.unsigned, two.ends.length]).toEqual([[], 2]);
});

test('a list counts that a trusted CA has signed: another one of the same name has not', () => {
  const forged = new Revocations(listOf({ revoked: [x509(strangers.sign('alice'))] }, strangers), people.cert);
  expect([forged.unsigned, forged.ends]).toEqual([['people'], []]);
  // One bit of what was signed.
  const der = derOf(listOf({ revoked: [alice] }));
  const serial = Buffer.from(alice.serialNumber, 'hex');
  const at = der.indexOf(serial);
  expect(at).toBeGreaterThan(0);
  der[at + serial.length - 1]! ^= 1;
  const pem = `-----BEGIN X509 CRL-----\n${der.toString('base64')}\n-----END X509 CRL-----\n`;
  expect(new Revocations(pem, people.cert).unsigned).toEqual(['people']);
});

test.each([
  ['RSA', ['rsa:2048'], []],
  ['RSA-PSS', ['rsa:2048'], ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:32']],
  ['P-384 and SHA-384', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'], ['-md', 'sha384']],
  ['Ed25519', ['ed25519'], []],
] as const)('signed by %s', (name, kind, more) => {
  const made = makeAuthority(name, kind);
  const eve = x509(made.sign('eve'));
  const list = listOf({ revoked: [eve], more }, made);
  expect(said(list, [eve, x509(made)], nowMs, made.cert)).toBe('it has been revoked');
});

test('one of SHA-1 is signed by nobody', () => {
  expect(new Revocations(listOf({ revoked: [alice], more: ['-md', 'sha1'] }), people.cert).unsigned).toHaveLength(1);
});

test('lists of a part of the certificates, and of changes, are none', () => {
  for (const extensions of ['deltaCRL=critical,DER:020101', 'issuingDistributionPoint=critical,@y\n[y]\nonlyuser=TRUE'])
    expect(
      () => listOf({ revoked: [], extensions }) && new Revocations(listOf({ revoked: [], extensions }), people.cert),
    ).toThrow(/a complete list is needed/);
});

test('any bytes are a list, or refused as none', () => {
  const der = derOf(listOf({ revoked: [alice, bob] }));
  const whole = parseRevocationList(der);
  expect(whole.serials).toEqual(new Set([alice, bob].map(({ serialNumber }) => serialOf(serialNumber))));
  for (let length = 0; length < der.length; length++)
    expect(() => parseRevocationList(der.subarray(0, length))).toThrow(DerError);
  expect(() => parseRevocationList(Buffer.concat([der, Buffer.alloc(1)]))).toThrow(DerError);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: der.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const other = Buffer.from(der);
      other[at]! ^= change;
      try {
        parseRevocationList(other);
      } catch (error) {
        expect(error).toBeInstanceOf(DerError);
      }
      // Whatever it says, nobody has signed it.
      const pem = `-----BEGIN X509 CRL-----\n${other.toString('base64')}\n-----END X509 CRL-----`;
      const counts = (): number => new Revocations(pem, people.cert).ends.length;
      try {
        expect(counts()).toBe(0);
      } catch (error) {
        if (!(error instanceof DerError)) throw error;
      }
    }),
    { numRuns: 300 },
  );
});

test('a text that ends within a list revokes no less: it is refused', () => {
  const pem = listOf({ revoked: [alice] });
  for (const text of [pem.slice(0, -3), pem.slice(0, pem.length / 2), `${pem}-----BEGIN X509 CRL-----\n`])
    expect(() => new Revocations(text, people.cert)).toThrow('it is cut off');
});

test('a chain leads to a root by signatures, and goes on above it as far as that is known', () => {
  const [root] = certificatesIn(people.cert);
  expect(chainTo([root!], [alice])).toEqual([alice, root]);
  expect(chainTo([root!], [alice, team])).toEqual([alice, root]);
  expect(chainTo([team, root!], [team])).toEqual([team, root]);
  expect(chainTo(certificatesIn(strangers.cert), [alice, root!])).toBeUndefined();
  expect(chainTo([], [alice])).toBeUndefined();
  expect(chainTo([root!], [])).toBeUndefined();
});
