/** Connections of undici whose certificates may change. */
import { buildConnector } from 'undici';
import { dialOptions, endWhenRevoked } from '../core/dial-tls.ts';
import type { ClientTls } from '../core/node-tls.ts';

/** Each connection is made with the certificates that hold then; those that are open stay. */
export function connectorOf(tls: ClientTls = {}, options: buildConnector.BuildOptions = {}): buildConnector.connector {
  const make = () => ({
    ...{ ca: tls.ca, cert: tls.cert, key: tls.key, revocations: tls.revocations },
    connect: buildConnector({
      ...options,
      ...dialOptions(tls),
    } as buildConnector.BuildOptions),
  });
  let made = make();
  return (target, callback) => {
    // Made anew only where something changed: it keeps sessions of TLS.
    if (made.ca !== tls.ca || made.cert !== tls.cert || made.key !== tls.key || made.revocations !== tls.revocations)
      made = make();
    made.connect(target, (...[error, socket]) => {
      if (socket !== null) endWhenRevoked(socket, tls);
      callback(...([error, socket] as Parameters<buildConnector.Callback>));
    });
  };
}
