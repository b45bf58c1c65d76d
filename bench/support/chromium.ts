/** A real Chromium without a window: Debian's, with a profile of its own, that speaks to nobody by itself. */
import { type BrowserContext, chromium } from 'playwright-core';

const executablePath = '/usr/bin/chromium';
/** It may take long where the machine has other work. */
const startLimitMs = 60_000;

/** Rejects where it is not installed (Debian: chromium). `profile` is a new folder. */
export function launchChromium(profile: string): Promise<BrowserContext> {
  return chromium.launchPersistentContext(profile, {
    ...{ executablePath, timeout: startLimitMs, headless: true },
    // Certificates of tests are made by the tests.
    ignoreHTTPSErrors: true,
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
      ...['--disable-component-update', '--disable-sync', '--no-proxy-server'],
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
