/**
 * Where a client is sent that asks for what another worker has.
 *
 * A signature is of the host that was asked, and a presigned link too: only who signs nothing can follow. So does a client by
 * its own choice (curl needs `-L`; AWS's SDKs follow only redirects to regions, and always sign). One that was sent here is not
 * sent on, for two workers may for a moment know different things.
 */
import type { Peer } from '../../core/peers.ts';
import type { ByteRange } from '../../core/types.ts';
import { insideHeader } from './access.ts';

/** Below, another round trip costs more than reading it through. */
const leastBytes = 256 * 1024;
/** In the query of a request that was sent on. */
const mark = 'x-primed-sent';

/** Whether a client may be sent on at all. */
export function maySendOn(headers: Readonly<Record<string, unknown>>, query: ReadonlyMap<string, string>): boolean {
  if (headers.authorization !== undefined || headers[insideHeader] !== undefined || query.has(mark)) return false;
  return ![...query.keys()].some((name) =>
    /^(x-amz-(signature|credential|algorithm)|signature|awsaccesskeyid)$/i.test(name),
  );
}

/** The same request at another worker. Undefined: it is not worth it, or nobody knows where that worker answers. */
export function sentOn(
  peer: Peer | undefined,
  range: ByteRange,
  request: { readonly target: string; readonly tls: boolean },
): string | undefined {
  if (peer?.s3Port === undefined || range.length < leastBytes) return undefined;
  const { hostname } = new URL(peer.url);
  const { target, tls } = request;
  const separator = target.includes('?') ? '&' : '?';
  return `${tls ? 'https' : 'http'}://${hostname}:${peer.s3Port}${target}${separator}${mark}=1`;
}
