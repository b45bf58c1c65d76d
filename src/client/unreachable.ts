/** Why nobody answered, in words that say what to do: libraries speak of bytes, and the usual mistake is one letter in an address. */

const plainBehind = new Set(['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG', 'EPROTO']);
const unknownAuthority = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** Alerts of TLS, in OpenSSL's words. */
const refusesCertificate = /\balert (?:(?:bad |unsupported )?certificate(?: \w+)?|unknown ca)\b/i;

/** @param url of who was asked */
export function whyUnreachable(url: string, error: unknown): string {
  const cause = firstOf(error);
  const code = cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? '') : '';
  const tls = url.startsWith('https:');
  const alert = refusesCertificate.exec(reasonOf(cause))?.[0];
  if (tls && alert !== undefined)
    return `${alert}: it asks for a client certificate of an authority that it knows, which has neither ended nor been revoked; name one by --cert or PRIMED_CERT_FILE`;
  if (tls && plainBehind.has(code)) return `it does not speak TLS: write ${url.replace(/^https:/, 'http:')}`;
  if (tls && unknownAuthority.has(code))
    return `${reasonOf(cause)}: name the authority that signed it in PRIMED_TLS_CA_FILE`;
  if (!tls && (code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code.startsWith('HPE_')))
    return `${reasonOf(cause)}; if it speaks TLS, write ${url.replace(/^http:/, 'https:')}`;
  return reasonOf(cause);
}

/** One line. */
export function reasonOf(error: unknown): string {
  const cause = firstOf(error);
  const words =
    cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code || cause.name : String(cause);
  return words.replace(/\s+/g, ' ').trim();
}

function firstOf(error: unknown): unknown {
  return error instanceof AggregateError && error.errors.length > 0 ? firstOf(error.errors[0]) : error;
}
