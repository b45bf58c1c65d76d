/** `[[certificate]]`: roles of people and programs that show a client certificate in place of a token. */
import Type from 'typebox';
import { type NamedCertificate, subjectPattern } from '../core/certificates.ts';
import { type TokenRole, tokenRoles } from '../core/roles.ts';
import type { Draft } from './draft.ts';
import { choice, text } from './forms.ts';

export const certificateSchema = Type.Object(
  {
    subject: text({
      live: true,
      description:
        'A name in the certificate, exactly: `CN=alice` (its common name), `email:alice@example.org`, `DNS:host` or `URI:…` (an alternative name). The audit log calls its holder so.',
      pattern: subjectPattern,
    }),
    role: choice(tokenRoles, { live: true, description: 'As of a `[[token]]`.' }),
  },
  {
    additionalProperties: false,
    description:
      'Whom a client certificate lets in that `tls.client_ca_file` has signed, where a request carries no token. The first entry counts that names it; one that no entry names may nothing (403).',
  },
);

export function certificatesOf({ values, counts }: Draft): readonly NamedCertificate[] {
  return Array.from({ length: counts.get('certificate') ?? 0 }, (_, index) => ({
    subject: values.get(`certificate[${index}].subject`) as string,
    role: values.get(`certificate[${index}].role`) as TokenRole,
  }));
}

export function checkCertificates(draft: Draft, complain: (draft: Draft, key: string, problem: string) => void): void {
  const { values } = draft;
  if (values.has('tls.client_ca_file') && !values.has('tls.cert_file'))
    complain(
      draft,
      'tls.client_ca_file',
      'needs tls.cert_file and tls.key_file beside it: without TLS nobody shows a certificate',
    );
  const seen = new Set<string>();
  certificatesOf(draft).forEach(({ subject }, index) => {
    const key = `certificate[${index}].subject`;
    if (!values.has('tls.client_ca_file')) complain(draft, key, 'counts only beside tls.client_ca_file; set it');
    if (!values.has('api_token')) complain(draft, key, 'counts only beside an api_token; set one');
    if (seen.has(subject)) complain(draft, key, `"${subject}" is there twice`);
    seen.add(subject);
  });
}
