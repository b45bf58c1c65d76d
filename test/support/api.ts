/** The job API as the contract's users call it: by hand-written requests, not by a client of ours. */
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
  /** Of the body; throws when it is no JSON. */
  json(): Json;
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers whose shape is what they test
export type Json = any;

const callLimitMs = 30_000;

/** One request; a body is sent with any method, GET included (which `fetch` cannot). */
export function call(
  base: string,
  method: string,
  target: string,
  body?: object | string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const outgoing = request(
      base + target,
      {
        method,
        agent: false,
        signal: AbortSignal.timeout(callLimitMs),
        headers: {
          ...(text === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
          ...headers,
        },
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk) => chunks.push(chunk));
        incoming.once('error', reject);
        incoming.once('end', () => {
          const said = Buffer.concat(chunks).toString();
          resolve({
            status: incoming.statusCode ?? 0,
            type: incoming.headers['content-type'] ?? '',
            text: said,
            json: () => JSON.parse(said),
          });
        });
      },
    );
    outgoing.once('error', reject);
    outgoing.end(text);
  });
}

const submitTarget = '/api/v1/master/submit_job/load';
const progressTarget = '/api/v1/master/progress_job/load';

export const submit = (api: string, path: string, options: object = {}) =>
  call(api, 'POST', submitTarget, { path, options });
export const submitRaw = (api: string, body: object | string) => call(api, 'POST', submitTarget, body);
export const stop = (api: string, path: string) => call(api, 'POST', '/api/v1/master/stop_job/load', { path });
export const progress = (api: string, path: string, format: 'TEXT' | 'JSON' = 'JSON', verbose = true) =>
  call(api, 'GET', progressTarget, { path, format, verbose: String(verbose) });
export const list = (api: string, query = '') => call(api, 'GET', `/api/v1/master/list_job?job-type=LOAD${query}`);

const running = new Set(['WAITING', 'RUNNING', 'VERIFYING']);

/** The JSON report at the end of the job, whichever end that is. Limit: 60 s. */
export async function ended(api: string, path: string, limitMs = 60_000): Promise<Json> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const answer = await progress(api, path);
    if (answer.status !== 200) throw new Error(`progress of ${path}: ${answer.status} ${answer.text}`);
    const report = answer.json();
    if (!running.has(report.mJobState)) return report;
    if (performance.now() > deadline)
      throw new Error(`the load of ${path} has not ended within ${limitMs} ms: ${answer.text}`);
    await sleep(10);
  }
}

/** Submits, waits, and insists on success. */
export async function loaded(api: string, path: string, options: object = {}): Promise<Json> {
  const answer = await submit(api, path, options);
  if (answer.status !== 200) throw new Error(`submit of ${path}: ${answer.status} ${answer.text}`);
  const report = await ended(api, path);
  if (report.mJobState !== 'SUCCEEDED') throw new Error(`the load of ${path} ended ${JSON.stringify(report)}`);
  return report;
}

export const fs = (api: string, verb: 'ls' | 'stat' | 'why', path: string, query = '') =>
  call(api, 'GET', `/api/v1/fs/${verb}?path=${encodeURIComponent(path)}${query}`);
export const check = async (api: string, path: string): Promise<Json> =>
  (await call(api, 'POST', `/api/v1/fs/check?path=${encodeURIComponent(path)}`)).json();
