/** A real Chromium without a window: Debian's, with a profile of its own, that speaks to nobody by itself. */
import { type BrowserContext, chromium } from 'playwright-core';

const executablePath = '/usr/bin/chromium';
/** It may take long where the machine has other work. */
const startLimitMs = 60_000;

/** What a browser shows of itself to servers that ask, by the origin of their pages. PEM. */
export interface ShownCertificate {
  readonly origin: string;
  readonly cert: string;
  readonly key: string;
}

/** Rejects where it is not installed (Debian: chromium). `profile` is a new folder. */
export function launchChromium(profile: string, shows: readonly ShownCertificate[] = []): Promise<BrowserContext> {
  return chromium.launchPersistentContext(profile, {
    ...{ executablePath, timeout: startLimitMs, headless: true },
    // Certificates of tests are made by the tests.
    ignoreHTTPSErrors: true,
    ...(shows.length > 0 && {
      clientCertificates: shows.map(({ origin, cert, key }) => ({
        origin,
        cert: Buffer.from(cert),
        key: Buffer.from(key),
      })),
    }),
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
      ...['--disable-component-update', '--disable-sync'],
      // Certificates of clients are shown by a proxy of Playwright's own.
      ...(shows.length > 0 ? [] : ['--no-proxy-server']),
    ],
  });
}

/** Counts what comes over the network to a page, heads included, from now on. */
export async function countBytes(context: BrowserContext, page: ReturnType<BrowserContext['pages']>[number]) {
  const session = await context.newCDPSession(page);
  let bytes = 0;
  session.on('Network.responseReceived', ({ response }) => {
    bytes += response.encodedDataLength;
  });
  session.on('Network.dataReceived', ({ encodedDataLength }) => {
    bytes += encodedDataLength;
  });
  await session.send('Network.enable');
  return () => bytes;
}
