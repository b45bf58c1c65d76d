/** Pages of a real Chromium, with what they ask for and complain of. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { launchChromium, type ShownCertificate } from '../../bench/support/chromium.ts';
import { temporaryFolder } from './files.ts';

/** Of each thing that is waited for in a page. */
const waitLimitMs = 30_000;

export interface Browser {
  /** A page of a tab of its own, with its own storage. `asked`: every URL that it has asked for. */
  open(options?: PageOptions): Promise<OpenedPage>;
  close(): Promise<void>;
}

export interface PageOptions {
  readonly dark?: boolean;
  readonly width?: number;
  readonly height?: number;
}

export interface OpenedPage {
  readonly page: Page;
  readonly asked: readonly string[];
  /** What the page has complained of: errors, and violations of its policy. */
  readonly complaints: readonly string[];
  /** Keeps a picture, where PRIMED_SCREENSHOTS names a folder. */
  shoot(name: string): Promise<void>;
}

export async function openBrowser(shows: readonly ShownCertificate[] = []): Promise<Browser> {
  const profile = temporaryFolder('chromium');
  const context = await launchChromium(profile.path, shows);
  return {
    async open({ dark = false, width = 1280, height = 800 } = {}) {
      const page = await context.newPage();
      page.setDefaultTimeout(waitLimitMs);
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' });
      const asked: string[] = [];
      const complaints: string[] = [];
      page.on('request', (request) => asked.push(request.url()));
      page.on('pageerror', (error) => complaints.push(String(error)));
      page.on('console', (message) => {
        // A refusal of the API is written there too.
        if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
          complaints.push(message.text());
      });
      const shoot = async (name: string): Promise<void> => {
        const folder = process.env.PRIMED_SCREENSHOTS;
        if (folder === undefined) return;
        mkdirSync(folder, { recursive: true });
        await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
      };
      return { page, asked, complaints, shoot };
    },
    async close() {
      await context.close();
      profile.remove();
    },
  };
}
