/** What is said of a coordinator that speaks otherwise than its address says. */
import { createServer as createPlain } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { createServer as createTls } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { PrimedClient } from '../../../src/client/client.ts';
import { makeCertificate } from '../../support/certificate.ts';

async function failure(server: Server, scheme: string): Promise<string> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const client = new PrimedClient({ coordinator: `${scheme}://127.0.0.1:${port}` });
  onTestFinished(async () => {
    await client.close();
    server.close();
  });
  const error = await client.workers().then(
    () => new Error('it answered'),
    (cause: Error) => cause,
  );
  expect(error.message).not.toMatch(/\n/);
  return error.message.replaceAll(`${port}`, 'PORT');
}

const withTls = (): Server => createTls(makeCertificate()).on('tlsClientError', () => undefined);

test('https where there is no TLS, and http where there is', async () => {
  expect(await failure(createPlain(), 'https')).toContain('(it does not speak TLS: write http://127.0.0.1:PORT');
  expect(await failure(withTls(), 'http')).toMatch(/if it speaks TLS, write https:\/\/127\.0\.0\.1:PORT/);
});

test('a certificate of an authority that nobody has named', async () => {
  expect(await failure(withTls(), 'https')).toContain('PRIMED_TLS_CA_FILE');
});
