/** The console for people who show a certificate: a real Chromium that has it, and nobody is asked for a token. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import { openBrowser } from '../support/browser.ts';
import { makeAuthority } from '../support/certificate.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';
import { originEnvironment, startTestOrigin } from '../support/origin.ts';
import { revocationList } from '../support/revocation.ts';

const folder = temporaryFolder('console-certificates');
const [nodes, people] = [makeAuthority('nodes'), makeAuthority('people')];
const [alice, bob] = [people.sign('alice'), people.sign('bob')];
let origin: EmbeddedOrigin;
let daemon: Daemon;

beforeAll(async () => {
  origin = await startTestOrigin({ objects: [{ key: 'set/one.bin', sizeBytes: 5000 }] });
  const roles = { alice: 'submit', bob: 'read' };
  const entries = Object.entries(roles).map(
    ([name, role]) => `[[certificate]]\nsubject = "CN=${name}"\nrole = "${role}"\n`,
  );
  const tls = '[tls]\ncert_file = "cert"\nkey_file = "key"\nclient_ca_file = "people"\ncrl_file = "lists"\n';
  const files = {
    ...{ 'primed.toml': `api_token = "the-token"\n${tls}${entries.join('')}` },
    ...{ ...nodes.sign('node'), people: people.cert, lists: revocationList(people) },
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder.path, name), text, { mode: 0o600 });
  daemon = await startDaemon({
    ...{ dataDir: join(folder.path, 'data'), storeSize: '64MB', ca: nodes.cert },
    args: ['--config', join(folder.path, 'primed.toml')],
    env: originEnvironment(origin),
  });
});
afterAll(async () => {
  await daemon?.kill();
  await origin?.close();
  folder.remove();
});

/** What the page would send: that a button is not there is no protection. */
const submits = (page: Page): Promise<number> =>
  page.evaluate(`fetch('/api/v1/master/submit_job/load', {
    method: 'POST', body: '{"path":"s3://demo/set/"}', headers: { 'content-type': 'application/json' }
  }).then(({ status }) => status)`);
const button = (page: Page, name: string) => page.getByRole('button', { name });

test('it opens with the role of the certificate, submits where that may, and lets go of who is revoked', async () => {
  const browser = await openBrowser([{ origin: daemon.api, ...alice }]);
  try {
    const { page, complaints } = await browser.open();
    await page.goto(daemon.api);
    await page.getByText('CN=alice (submit)').waitFor();
    expect(await button(page, 'Free…').isVisible()).toBe(false);
    await button(page, 'Submit a load').click();
    await page.getByRole('dialog', { name: 'Submit a load' }).waitFor();
    await page.keyboard.type('s3://demo/set/');
    await page.keyboard.press('Enter');
    await page.locator('.head .state', { hasText: 'succeeded' }).waitFor();
    expect(complaints).toEqual([]);
    writeFileSync(join(folder.path, 'lists'), revocationList(people, { revoked: [alice.cert] }));
    // Its stream of events ends, and it is asked for a token as everybody else.
    await page.getByRole('heading', { level: 1, name: 'Sign in' }).waitFor();
    expect(await submits(page)).toBe(401);
  } finally {
    await browser.close();
  }
});

test('who may read sees the jobs, has no buttons, and is refused', async () => {
  const browser = await openBrowser([{ origin: daemon.api, ...bob }]);
  try {
    const { page, complaints } = await browser.open();
    await page.goto(daemon.api);
    await page.getByText('CN=bob (read)').waitFor();
    await page.getByRole('link', { name: 's3://demo/set/' }).waitFor();
    for (const name of ['Submit a load', 'Free…']) expect(await button(page, name).isVisible()).toBe(false);
    expect(await submits(page)).toBe(403);
    expect(complaints).toEqual([]);
  } finally {
    await browser.close();
  }
});
