/** Connections of undici whose certificates may change. */
import { buildConnector } from 'undici';
import type { ClientTls } from '../core/node-tls.ts';

/** Each connection is made with the certificates that hold then; those that are open stay. */
export function connectorOf(tls: ClientTls = {}, options: buildConnector.BuildOptions = {}): buildConnector.connector {
  const make = () => ({ ca: tls.ca, cert: tls.cert, key: tls.key, connect: buildConnector({ ...options, ...tls }) });
  let made = make();
  return (target, callback) => {
    // Made anew only where something changed: it keeps sessions of TLS.
    if (made.ca !== tls.ca || made.cert !== tls.cert || made.key !== tls.key) made = make();
    made.connect(target, callback);
  };
}
