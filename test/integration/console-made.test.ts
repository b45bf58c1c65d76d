/**
 * The console over clusters that are made up, in a real Chromium: curves of rates, also over a start of the coordinator, a tab that
 * nobody sees, and very many jobs and workers.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { countBytes } from '../../bench/support/chromium.ts';
import { type MadeCluster, madeJob, madeWorker } from '../../bench/support/made-cluster.ts';
import { GiB, KiB, MiB } from '../../src/core/units.ts';
import { call, loaded } from '../support/api.ts';
import { findings } from '../support/axe.ts';
import { type Browser, openBrowser } from '../support/browser.ts';
import { startConsole } from '../support/console-server.ts';
import { startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';
import { originEnvironment, startTestOrigin } from '../support/origin.ts';

/** Larger than what a second brings of them here. */
const slow = Array.from({ length: 4 }, (_, n) => ({ key: `slow/${n}.bin`, sizeBytes: 24 * MiB + n }));
const button = (page: Page, name: string) => page.getByRole('button', { name });
let browser: Browser;
beforeAll(async () => {
  browser = await openBrowser();
});
afterAll(() => browser?.close());

/** A cluster that is made up, of one load as fast as `pace` says, and the page over it. */
async function visitPaced(options?: Parameters<Browser['open']>[0]) {
  const pace = { bytesPerSecond: GiB };
  const made: MadeCluster = { jobs: [], workers: [madeWorker(1), madeWorker(2)] };
  const run = (count: number): void => {
    made.jobs = Array.from({ length: count }, (_, n) => ({ ...madeJob(n, 1), bytesPerSecond: pace.bytesPerSecond }));
  };
  const server = await startConsole(made);
  const past = async () => (await call(server.url, 'GET', '/api/v1/console/rates')).json();
  /** Resolves when the coordinator has noted it, whoever looks. */
  const noted = async (bytesPerSecond: number): Promise<void> => {
    pace.bytesPerSecond = bytesPerSecond;
    run(made.jobs.length || 1);
    await expect
      .poll(async () => (await past()).loading.fine.values.at(-1), { timeout: 10_000 })
      .toBe(bytesPerSecond * made.jobs.length);
  };
  return { server, noted, run, opened: await browser.open(options) };
}

test('curves show the time before the page was opened, at once and after a reload', async () => {
  const { server, noted, opened } = await visitPaced();
  try {
    const { page, complaints, shoot } = opened;
    await noted(7 * GiB);
    await noted(GiB);
    for (const again of [false, true]) {
      await (again ? page.reload() : page.goto(`${server.url}/console/`));
      // The page itself has never seen so much.
      await page.getByText('peak 7.00 GiB/s in 10 min').waitFor();
      await expect.poll(() => page.locator('td .spark .line').first().getAttribute('d')).toMatch(/^M/);
    }
    await page.getByRole('link', { name: /Loading/ }).click();
    await page.getByRole('heading', { level: 1, name: 'Rates', exact: true }).waitFor();
    await page
      .getByRole('img', { name: /^Loads read from origins: 1.00 GiB\/s now, at most 7.00 GiB\/s in 10 min/ })
      .waitFor();
    await page.getByLabel('Span of the curves').selectOption('Last 6 h');
    await page.getByText('−5 h').first().waitFor();
    await shoot('rates');
    await page.goto(`${server.url}/console/#/job/job-0`);
    await page.getByRole('img', { name: /^Rate of this job: .* at most [\d.]+ GiB\/s in 6 h/ }).waitFor();
    expect(await findings(page)).toEqual([]);
    expect(complaints).toEqual([]);
    await page.close();
  } finally {
    await server.close();
  }
});

test('a coordinator that is started again knows what was, and an open page forgets nothing when it does not', async () => {
  const folder = temporaryFolder('console-restart');
  const origin = await startTestOrigin({ objects: slow });
  const order = { dataDir: join(folder.path, 'data'), storeSize: '256MB', env: originEnvironment(origin) };
  let daemon = await startDaemon(order);
  const { api, ports } = daemon;
  try {
    const { page: open, complaints } = await browser.open();
    await open.goto(api);
    await loaded(api, 's3://demo/slow/', { bandwidth: '20MB' });
    const peak = (page: Page) => page.getByText(/^peak [1-9][\d.]* [KM]iB\/s in 10 min$/);
    await peak(open).waitFor();
    /** Of what this page alone was told. */
    const seesPeakOfHour = async (peakOfIt: RegExp): Promise<void> => {
      const { page } = await browser.open();
      const told = page.waitForResponse((answer) => answer.url().endsWith('/console/rates'));
      await page.goto(`${api}/console/#/rates`);
      await (await told).finished();
      await page.getByLabel('Span of the curves').selectOption('Last 1 h');
      const facts = page.getByRole('region', { name: 'Loads read from origins' }).locator('.facts');
      // What was told is drawn some time behind it.
      await expect.poll(() => facts.innerText()).toMatch(peakOfIt);
      await page.close();
    };
    const restart = async () => {
      await daemon.terminate();
      await open.getByText('No connection', { exact: true }).waitFor();
    };
    await restart();
    daemon = await startDaemon({ ...order, ports });
    await seesPeakOfHour(/Peak in 1 h\n[1-9][\d.]* [KM]iB\/s/);

    await restart();
    rmSync(join(order.dataDir, 'rates'), { recursive: true });
    const told = open.waitForResponse((answer) => answer.url().endsWith('/console/rates'));
    daemon = await startDaemon({ ...order, ports });
    await open.getByText('Live', { exact: true }).waitFor();
    // Of the past, as far as anybody knows it.
    await told;
    await seesPeakOfHour(/Peak in 1 h\n0 B\/s/);
    expect(await peak(open).isVisible()).toBe(true);
    expect(complaints.filter((text) => !/ERR_CONNECTION|Failed to fetch/.test(text))).toEqual([]);
  } finally {
    await daemon.kill();
    await origin.close();
    folder.remove();
  }
});

test('a tab that nobody sees draws nothing, then listens no more, and catches up when it is seen', async () => {
  const { server, noted, run, opened } = await visitPaced();
  try {
    const { page, asked, complaints } = opened;
    const feeds = () => asked.filter((url) => url.endsWith('/console/feed')).length;
    const see = (hidden: boolean) =>
      page.evaluate(`Object.defineProperty(document, 'hidden', { configurable: true, get: () => ${hidden} });
        document.dispatchEvent(new Event('visibilitychange'))`);
    run(1);
    await page.clock.install();
    await page.goto(`${server.url}/console/`);
    await page.getByText('1 running', { exact: true }).waitFor();
    await page.evaluate(`changes = 0; new MutationObserver((all) => { changes += all.length })
      .observe(document, { subtree: true, childList: true, attributes: true, characterData: true })`);
    await expect.poll(() => page.evaluate('changes')).toBeGreaterThan(0);
    await see(true);
    const ended = page.waitForEvent('requestfailed', (request) => request.url().endsWith('/console/feed'));
    await page.evaluate('changes = 0');
    run(2);
    // It is still told so, and does nothing about it.
    await noted(3 * GiB);
    expect([feeds(), await page.evaluate('changes')]).toEqual([1, 0]);
    await page.clock.fastForward(11_000);
    await ended;
    await noted(8 * GiB);
    await noted(GiB);
    expect([feeds(), await page.evaluate('changes')]).toEqual([1, 0]);
    await see(false);
    await page.getByText('2 running', { exact: true }).waitFor();
    // What went on while it rested is there too.
    await page.getByText('peak 16.0 GiB/s in 10 min').waitFor();
    await page.getByText('Live', { exact: true }).waitFor();
    expect([feeds(), complaints]).toEqual([2, []]);
    await page.close();
  } finally {
    await server.close();
  }
});

test('with 1,000 jobs and 1,000 workers the page stays small, and follows', async () => {
  let turn = 1;
  const made: MadeCluster = { jobs: [], workers: Array.from({ length: 1000 }, (_, n) => madeWorker(n)) };
  const step = () => {
    turn += 1;
    made.jobs = Array.from({ length: 1000 }, (_, n) => madeJob(n, turn));
  };
  step();
  const server = await startConsole(made);
  try {
    const { page, complaints, shoot } = await browser.open();
    const bytes = await countBytes(page.context(), page);
    await page.goto(`${server.url}/console/`);
    await page.getByText('1–50 of 1,000').waitFor();
    expect(bytes()).toBeGreaterThan(20 * KiB);
    expect(bytes()).toBeLessThan(300 * KiB);
    expect(await page.locator('tbody tr').count()).toBe(50);
    const first = page.getByRole('row', { name: /set-0\// });
    const before = await first.innerText();
    // Focus stays on a row that is drawn again.
    await first.getByRole('link').focus();
    step();
    await expect.poll(() => first.innerText()).not.toBe(before);
    expect(await first.getByRole('link').evaluate((one) => one.matches(':focus'))).toBe(true);
    await button(page, 'Next').click();
    await page.getByText('51–100 of 1,000').waitFor();
    await button(page, 'Rate').click();
    await expect.poll(() => page.locator('tbody tr').first().innerText()).toContain('set-999/');
    await page.getByLabel('Jobs whose path or id has').fill('set-77');
    await expect.poll(() => page.locator('tbody tr').count()).toBe(11);
    await page.getByRole('link', { name: 'Workers' }).first().click();
    await page.getByText('1–50 of 1,000').waitFor();
    await shoot('workers-1000');
    expect(complaints).toEqual([]);
    await page.close();
  } finally {
    await server.close();
  }
});
