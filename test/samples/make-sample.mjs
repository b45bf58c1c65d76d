/**
 * Makes the stored sample of a data folder: `node test/samples/make-sample.mjs <checkout> <output.tar.br>`, where the checkout is
 * one of an earlier release with its `dist/` built (`git worktree add DIR COMMIT`, `npm ci`, `npm run setup` there).
 *
 * format-5.tar.br was made from 2692e21^, the last commit with format 5 of the index and format 1 of the job store. In it are
 * a load that succeeded and was verified, one that was stopped in the middle, a free, a pin, and a load that was under way when
 * the process was killed (SIGKILL).
 */
import { execFileSync, fork, spawn } from 'node:child_process';
import { mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { brotliCompressSync, constants } from 'node:zlib';
import { contentOf, lastModifiedMs, sizes } from './contents.mjs';

const [checkout, output] = process.argv.slice(2);
const data = '/tmp/primed-sample';
const ports = { api: 21_811, http: 21_812, s3: 21_813 };
const api = `http://127.0.0.1:${ports.api}`;
const main = join(resolve(checkout), 'dist', 'main.js');

rmSync(data, { recursive: true, force: true });
mkdirSync(data, { recursive: true });
const origin = await startOrigin();
const daemon = spawn(
  process.execPath,
  [
    ...[main, 'standalone', '--data', data, '--store-size', '24MB', '--api', `127.0.0.1:${ports.api}`],
    ...['--http', `127.0.0.1:${ports.http}`, '--s3', `127.0.0.1:${ports.s3}`],
  ],
  { stdio: ['ignore', openSync('/tmp/primed-sample.log', 'w'), 'inherit'], env: environment(origin.url) },
);
try {
  await until(async () => (await fetch(`${api}/health/ready`)).ok);
  await cli('job', 'load', '--path', 's3://sample/data/', '--submit', '--verify');
  await ended('s3://sample/data/');
  await cli('job', 'load', '--path', 's3://sample/gone/', '--submit');
  await ended('s3://sample/gone/');
  await cli('job', 'free', '--path', 's3://sample/gone/', '--submit');
  await cli('fs', 'pin', 's3://sample/data/');
  await cli('job', 'load', '--path', 's3://sample/half/', '--submit', '--bandwidth', '2MiB');
  await wait(2000);
  await cli('job', 'load', '--path', 's3://sample/half/', '--stop');
  await ended('s3://sample/half/');
  await cli('job', 'load', '--path', 's3://sample/late/', '--submit', '--bandwidth', '512KiB');
  await wait(2500);
  console.log(await cli('job', 'list'));
} finally {
  daemon.kill('SIGKILL');
  origin.child.kill();
}
await new Promise((gone) => daemon.once('exit', gone));
const tar = execFileSync('tar', ['-c', '--owner=0', '--group=0', '-C', data, '.'], { maxBuffer: 2 ** 30 });
const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 };
const packed = brotliCompressSync(tar, { params });
writeFileSync(output, packed);
console.log(`${output}: ${packed.length} bytes of ${tar.length}`);

async function startOrigin() {
  const child = fork(join(resolve(checkout), 'dist', 'demo-origin.js'), [], { serialization: 'advanced' });
  const waiting = new Map();
  child.on('message', (message) => waiting.get(message.id ?? 0)?.(message));
  const ask = (id, message) => new Promise((answer) => waiting.set(id, answer) && child.send(message));
  const { started } = await ask(0, { start: { bucket: 'sample' } });
  let id = 0;
  for (const key of sizes.keys()) {
    id += 1;
    const answer = await ask(id, { id, call: 'put', args: [{ key, body: contentOf(key), lastModifiedMs }] });
    if (answer.error !== undefined) throw new Error(answer.error);
  }
  return { child, url: started.endpoint };
}

function environment(url) {
  const { PATH, HOME } = process.env;
  const keys = { AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret', AWS_REGION: 'us-east-1' };
  // Part after part, so that what is interrupted has some of it.
  const slow = { PRIMED_WORKER_LANES: '1', PRIMED_WORKER_SOCKETS_PER_LANE: '1', PRIMED_WORKER_PART_SIZE: '1MiB' };
  return { PATH, HOME, AWS_ENDPOINT_URL: url, AWS_EC2_METADATA_DISABLED: 'true', ...keys, ...slow };
}

async function cli(...words) {
  return execFileSync(process.execPath, [main, ...words, '--coordinator', api], { encoding: 'utf8' });
}

async function ended(path) {
  await until(async () => {
    const jobs = JSON.parse(await cli('job', 'list', '--format', 'json'));
    const rows = Array.isArray(jobs) ? jobs : jobs.jobs;
    const row = rows.find((job) => job.path === path && job.type !== 'FREE');
    return row !== undefined && /SUCCEEDED|STOPPED|FAILED/.test(row.state ?? row.jobState ?? '');
  });
}

async function until(what) {
  for (let turn = 0; turn < 200; turn += 1) {
    if (await what().catch(() => false)) return;
    await wait(100);
  }
  throw new Error(`waited in vain: ${what}`);
}
