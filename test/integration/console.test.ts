/** The console as people use it: a real Chromium, with mouse, keyboard and the accessibility tree, on a real cluster!. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { call, type Json, stop, submit } from '../support/api.ts';
import { findings } from '../support/axe.ts';
import { type Browser, type OpenedPage, openBrowser } from '../support/browser.ts';
import { makeAuthority, makeCertificate } from '../support/certificate.ts';
import { type Cluster, openCluster } from '../support/cluster.ts';
import { startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';

/** Markup, and longer than any line. */
/** It looks like markup, like a name that ends in `txt.bin`, and is long. */
const hostile = `bad/<img src=x onerror="window.hit=1">&amp;\u202ebin.txt${'x'.repeat(300)}.bin`;
const shownHostile = hostile.replace('\u202e', '\\u202e');
const objects = [
  ...Array.from({ length: 4 }, (_, n) => ({ key: `slow/${n}.bin`, sizeBytes: 24 * MiB + n })),
  ...Array.from({ length: 1000 }, (_, n) => ({ key: `many/${n}.bin`, sizeBytes: 64 * KiB })),
  { key: 'bad/good.bin', sizeBytes: 5000 },
  { key: hostile, sizeBytes: 5000 },
];
let browser: Browser;
let cluster: Cluster | undefined;
beforeAll(async () => {
  browser = await openBrowser();
});
// Waiting for workers is only possible where a test is.
beforeEach(async () => {
  cluster ??= await openCluster({ origin: { objects }, workers: ['w1', 'w2'], storeSize: '256MB' });
});
afterAll(async () => {
  await browser?.close();
  await cluster?.close();
});

const button = (page: Page, name: string | RegExp) => page.getByRole('button', { name });
const heading = (page: Page, name: string) => page.getByRole('heading', { level: 1, name, exact: true });

async function visit(path = '/', options: Parameters<Browser['open']>[0] = {}): Promise<OpenedPage> {
  const opened = await browser.open(options);
  await opened.page.goto(cluster!.coordinator.api + path);
  await opened.page.getByText('Live', { exact: true }).waitFor();
  return opened;
}

async function expectNoOverflow(page: Page): Promise<void> {
  const [wide, room] = (await page.evaluate('[document.documentElement.scrollWidth, innerWidth]')) as number[];
  expect(wide, page.url()).toBeLessThanOrEqual(room!);
}

/** Presses Tab until this has focus; fails where it cannot be reached. */
async function tabTo(page: Page, name: string): Promise<void> {
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press('Tab');
    const focused = await page.evaluate(() => {
      const at = (globalThis as unknown as { document: { activeElement: { textContent: string } } }).document;
      return at.activeElement.textContent;
    });
    if (focused === name) return;
  }
  throw new Error(`'${name}' is not reached by Tab`);
}

test('a load is submitted by keyboard alone, watched, and stopped after it was asked; focus comes back', async () => {
  // Minutes: it is to be stopped long before its end, however slow the machine is.
  cluster!.origin.setKnobs({ bytesPerSecond: MiB / 2 });
  const { page, complaints, asked, shoot } = await visit();
  expect(page.url()).toBe(`${cluster!.coordinator.api}/console/`);
  await page.getByText('No job yet').waitFor();
  await tabTo(page, 'Submit a load');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'Submit a load' }).waitFor();
  await page.keyboard.type('s3://demo/slow/');
  await page.keyboard.press('Enter');
  await heading(page, 'Load').waitFor();
  const facts = page.locator('dl.facts').first();
  await expect.poll(() => facts.innerText(), { timeout: 30_000 }).toMatch(/Rate\n[\d.]+ [KM]iB\/s/);
  await expect.poll(() => page.title()).toContain('1 running');
  // Workers say by themselves, with each renewal, what they receive.
  const receiving = async () =>
    (await call(cluster!.coordinator.api, 'GET', '/api/v1/workers')).json().map(({ use }: Json) => use);
  await expect
    .poll(receiving, { timeout: 30_000 })
    .toContainEqual(expect.objectContaining({ receivedBytesPerSecond: expect.toSatisfy((rate: number) => rate > 0) }));
  await shoot('job-running');

  await tabTo(page, 'Stop…');
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Stop this load?' });
  await dialog.waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await page.locator('button:focus', { hasText: 'Stop…' }).waitFor();
  expect(await page.locator('.head .state').innerText()).toBe('running');
  await page.keyboard.press('Enter');
  await dialog.waitFor();
  await tabTo(page, 'Stop the load');
  await page.keyboard.press('Enter');
  await page.locator('.head .state', { hasText: 'stopped' }).waitFor();
  await expect.poll(() => page.locator('#said').innerText()).toContain('stopped');
  expect([complaints, asked.filter((url) => !url.startsWith(`${cluster!.coordinator.api}/`))]).toEqual([[], []]);
  cluster!.origin.setKnobs({ bytesPerSecond: 0 });
  await page.close();
});

test('what failed is told with its reason, its story is told, and a hostile name is text', async () => {
  const id = cluster!.origin.setFault({ key: hostile, fault: { kind: 'status', status: 403 } });
  await submit(cluster!.coordinator.api, 's3://demo/bad/');
  const { page, complaints, shoot } = await visit();
  await page
    .getByRole('row', { name: /s3:\/\/demo\/bad\// })
    .getByText('failed', { exact: true })
    .waitFor();
  expect(cluster!.origin.fired(id)).toBeGreaterThan(0);
  await shoot('jobs-failed');
  await page.getByRole('link', { name: 's3://demo/bad/' }).click();
  const row = page.getByRole('table', { name: 'Files that failed' }).getByRole('row').nth(1);
  await row.waitFor();
  expect(await row.innerText()).toContain(`s3://demo/${shownHostile}`);
  expect(await row.innerText()).toContain('403');
  await expectNoOverflow(page);
  await shoot('job-failed');
  await row.getByRole('link').click();
  await heading(page, 'File').waitFor();
  await page.locator('.story li[data-kind=bad]').first().waitFor();
  await expectNoOverflow(page);
  // Which attempt of which load failed, and how the origin answered it.
  expect(await page.locator('.story').innerText()).toMatch(/attempt 1 of load .* FAILED \(HTTP 403/);
  await shoot('file-failed');
  // The other file of the load came with it.
  await page.getByLabel('Path of a file').fill('s3://demo/bad/good.bin');
  await button(page, 'Tell its story').click();
  await expect
    .poll(() => page.locator('dl.facts').first().innerText())
    .toMatch(/State\ncomplete[\s\S]*On workers\nw[12]/);
  expect(await page.locator('main img').count()).toBe(0);
  expect(await page.evaluate('window.hit')).toBeUndefined();
  expect(complaints).toEqual([]);
  cluster!.origin.clearFaults();
  await page.close();
});

test('a free says first what would go, and then it goes', async () => {
  const { page, complaints } = await visit();
  await button(page, 'Free…').click();
  const dialog = page.getByRole('dialog', { name: 'Free cached data' });
  await dialog.getByLabel('Path').fill('s3://demo/bad/');
  await button(page, 'Look at what would be removed').click();
  await dialog.getByText('1 files, 4.88 KiB, go from 1 worker.').waitFor();
  expect((await call(cluster!.coordinator.api, 'GET', '/api/v1/fs/stat?path=s3://demo/bad/')).json().files).toBe(1);
  // Another path is looked at anew.
  await dialog.getByLabel('Path').fill('s3://demo/nothing/');
  await button(page, 'Look at what would be removed').click();
  await dialog.getByText('Nothing of it is cached.').waitFor();
  await dialog.getByLabel('Path').fill('s3://demo/bad/');
  await button(page, 'Look at what would be removed').click();
  await button(page, 'Free 1 file').click();
  await heading(page, 'Free').waitFor();
  await page.locator('.head .state', { hasText: 'succeeded' }).waitFor();
  expect((await call(cluster!.coordinator.api, 'GET', '/api/v1/fs/stat?path=s3://demo/bad/')).status).toBe(404);
  expect(complaints).toEqual([]);
  await page.close();
});

test('an origin is told of for the whole cluster, with why its requests fail, and worker by worker', async () => {
  const fault = { kind: 'status', status: 503 } as const;
  const id = cluster!.origin.setFault({ keyPattern: '^many/', every: 3, fault });
  // Requests end all the time, and for a minute: it is to be stopped long before its end.
  cluster!.origin.setKnobs({ bytesPerSecond: MiB });
  await submit(cluster!.coordinator.api, 's3://demo/many/');
  const { page, complaints, shoot } = await visit('/console/#/origins');
  const row = page.getByRole('row', { name: /s3:\/\/demo\// });
  await expect
    .poll(() => row.innerText(), { timeout: 60_000 })
    .toMatch(/(throttled|failing)[\s\S]*told to slow down \d+ %[\s\S]*iB\/s\s+[\d.]+ (ms|s)\s/);
  expect(cluster!.origin.fired(id)).toBeGreaterThan(0);
  await shoot('origins');
  await row.getByRole('link').click();
  await heading(page, 'Origin').waitFor();
  await page.getByRole('table', { name: 'Who asks this origin' }).getByText('told to slow down').first().waitFor();
  expect(await page.locator('dl.facts').innerText()).toMatch(/Why\ntold to slow down[\s\S]*Limit in use\nno limit/);
  expect(await findings(page)).toEqual([]);
  await shoot('origin');
  expect(complaints).toEqual([]);
  cluster!.origin.clearFaults();
  await stop(cluster!.coordinator.api, 's3://demo/many/');
  cluster!.origin.setKnobs({ bytesPerSecond: 0 });
  await page.close();
});

test('every view has no finding of axe, light and dark, wide and on a phone', async () => {
  for (const options of [
    { dark: false, width: 1280 },
    { dark: true, width: 390 },
  ]) {
    const { page, complaints, shoot } = await visit('/console/', options);
    for (const view of ['Jobs', 'Workers', 'Store', 'Origins', 'Rates', 'File']) {
      await page.getByRole('navigation', { name: 'Console' }).getByRole('link', { name: view }).click();
      await heading(page, view).waitFor();
      expect([view, options, await findings(page)]).toEqual([view, options, []]);
      await expectNoOverflow(page);
      await shoot(`${view}-${options.width}`);
      if (view !== 'Rates') continue;
      // Letters of a curve are as large as any, however narrow it is.
      const letters = await page.locator('.curve').first().getByText('now', { exact: true }).boundingBox();
      expect(letters!.height).toBeGreaterThan(10);
    }
    await page.getByRole('navigation', { name: 'Console' }).getByRole('link', { name: 'Jobs' }).click();
    // The load, which is older than the free.
    await page.getByRole('link', { name: 's3://demo/bad/' }).last().click();
    await page.getByRole('table', { name: 'Files that failed' }).waitFor();
    expect(await findings(page)).toEqual([]);
    await expectNoOverflow(page);
    await shoot(`job-${options.width}`);
    await page.goto(`${cluster!.coordinator.api}/console/#/jobs`);
    await button(page, 'Submit a load').click();
    await page.getByLabel('Path', { exact: true }).fill('s3://demo/slow/');
    await button(page, 'What would it do?').click();
    await page.getByText(/^It fetches/).waitFor();
    expect(await findings(page)).toEqual([]);
    expect(complaints).toEqual([]);
    await page.close();
  }
});

test('over TLS and with tokens: nothing without one, no button without the role, and the server refuses by itself', async () => {
  const folder = temporaryFolder('console-roles');
  const { cert, key } = makeCertificate();
  const toml = [
    'api_token = "hush-admin"',
    ...['read', 'submit'].flatMap((role) => [
      '[[token]]',
      `name = "${role}er"`,
      `role = "${role}"`,
      `token = "hush-${role}"`,
    ]),
  ];
  const files = { 'primed.toml': toml.join('\n'), 'cert.pem': cert, 'key.pem': key };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder.path, name), text, { mode: 0o600 });
  const daemon = await startDaemon({
    ...{ role: 'coordinator', dataDir: join(folder.path, 'data'), storeSize: null, ca: cert },
    args: ['--config', join(folder.path, 'primed.toml')],
    env: { PRIMED_TLS_CERT_FILE: join(folder.path, 'cert.pem'), PRIMED_TLS_KEY_FILE: join(folder.path, 'key.pem') },
  });
  try {
    expect(daemon.api).toMatch(/^https:/);
    const { page, asked } = await browser.open();
    await page.goto(daemon.api);
    const signIn = async (token: string) => {
      await page.getByLabel('Token').fill(token);
      await page.keyboard.press('Enter');
    };
    await signIn('wrong');
    await page.getByText('The coordinator does not take this token: it is wrong, or no longer valid.').waitFor();
    const shown = async () => Promise.all(['Submit a load', 'Free…'].map((name) => button(page, name).isVisible()));
    for (const [role, buttons] of [
      ['read', [false, false]],
      ['submit', [true, false]],
      ['admin', [true, true]],
    ] as const) {
      await signIn(`hush-${role}`);
      await page.getByText('Live', { exact: true }).waitFor();
      await page.getByText('No job yet').waitFor();
      expect([role, await shown()]).toEqual([role, buttons]);
      // What the page would send: the button is no protection.
      const status = await page.evaluate(`fetch('/api/v1/master/submit_job/free', {
        method: 'POST', body: '{"path":"s3://b/x/"}', headers: { authorization: 'Bearer hush-${role}', 'content-type': 'application/json' }
      }).then(({ status }) => status)`);
      expect([role, status === 403]).toEqual([role, role !== 'admin']);
      await button(page, 'Sign out').click();
      await heading(page, 'Sign in').waitFor();
    }
    expect(await page.evaluate('sessionStorage.length + document.cookie.length')).toBe(0);
    expect(asked.filter((url) => url.includes('hush') || !url.startsWith(`${daemon.api}/`))).toEqual([]);
    await page.close();
  } finally {
    await daemon.kill();
    folder.remove();
  }
});

test('where nodes know each other by certificates, one makes nobody an operator, and people need none', async () => {
  const folder = temporaryFolder('console-mtls');
  const authority = makeAuthority('cluster');
  const { cert, key } = authority.sign('c');
  const toml = 'api_token = "hush-admin"\n[[token]]\nname = "reader"\nrole = "read"\ntoken = "hush-read"\n';
  const files = { 'primed.toml': toml, 'cert.pem': cert, 'key.pem': key, 'ca.pem': authority.cert };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder.path, name), text, { mode: 0o600 });
  const daemon = await startDaemon({
    ...{ role: 'coordinator', dataDir: join(folder.path, 'data'), storeSize: null, ca: authority.cert },
    args: ['--config', join(folder.path, 'primed.toml')],
    env: {
      PRIMED_TLS_CERT_FILE: join(folder.path, 'cert.pem'),
      PRIMED_TLS_KEY_FILE: join(folder.path, 'key.pem'),
      PRIMED_TLS_CA_FILE: join(folder.path, 'ca.pem'),
      PRIMED_TLS_NODES: 'mtls',
    },
  });
  const shows = { origin: daemon.api, ...authority.sign('w9') };
  const certified = await openBrowser([shows]);
  try {
    // What a node would send: the certificate is there, and it is the only difference.
    const asNode = (page: Page): Promise<{ status: number; message: string }> =>
      page.evaluate(`fetch('/internal/v1/workers/w9', { method: 'PUT', body: '{}', headers: { 'content-type': 'application/json' } })
        .then(async (answer) => ({ status: answer.status, message: (await answer.json()).message }))`);
    for (const [who, has] of [
      [certified, true],
      [browser, false],
    ] as const) {
      const { page, complaints } = await who.open();
      await page.goto(daemon.api);
      // A certificate alone shows nothing of the cluster.
      await heading(page, 'Sign in').waitFor();
      const { status, message } = await asNode(page);
      expect([has, status, /certificate/.test(message)]).toEqual(has ? [true, 400, false] : [false, 401, true]);
      await page.getByLabel('Token').fill('hush-read');
      await page.keyboard.press('Enter');
      await page.getByText('No job yet').waitFor();
      await page.getByText('reader (read)').waitFor();
      for (const name of ['Submit a load', 'Free…']) expect(await button(page, name).isVisible()).toBe(false);
      expect(complaints).toEqual([]);
      await page.close();
    }
  } finally {
    await certified.close();
    await daemon.kill();
    folder.remove();
  }
});
