/**
 * Examples of README, docs/ and the help of every verb: every command in a block of them is run by a shell against a daemon, as it stands there but for
 * ports, and every piece of configuration is read. docs/API.md has a test of its own, which looks at the answers too.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { makeProgram } from '../../src/cli/run.ts';
import { allVerbs, verbTree } from '../../src/cli/verb-tree.ts';
import { MiB } from '../../src/core/units.ts';
import { ended, loaded } from '../support/api.ts';
import { run } from '../support/cli.ts';
import { type Cluster, openCluster, untilLive } from '../support/cluster.ts';
import { loadConfig } from '../support/config.ts';
import { executable } from '../support/daemon.ts';
import { projectRoot, temporaryFolder } from '../support/files.ts';
import { makeWorld } from '../unit/cli/world.ts';

interface Example {
  readonly document: string;
  readonly command: string;
}

/** Why a command is not run here. One that no example matches is taken out. */
const notRun: readonly [pattern: RegExp, why: string][] = [
  [
    /^(?:apt|systemctl|dpkg|runuser|etcdctl|promtool|s3fs|rclone|echo KEY) ?/,
    'needs a package, root, FUSE or another server',
  ],
  [/^aws /, 'a client that is tried in test/integration'],
  [/^npm /, 'setup, demo and tests themselves'],
  [/^export /, 'credentials of the reader'],
  [
    /^(?:node dist\/main\.js|primed) (?:standalone|coordinator|worker --data|demo)/,
    'a daemon, as the one of this test is',
  ],
  [/^(?:source <|primed completion )/, 'writes into a shell and a home: test/unit/cli/completion.test.ts'],
  [/^primed config /, 'reads files of the machine: test/e2e/config.test.ts'],
  [/^primed top/, 'needs a terminal: test/e2e/top.test.ts'],
];

const documents = ['README.md', ...readdirSync(join(projectRoot, 'docs')).map((name) => `docs/${name}`)].filter(
  (name) => name.endsWith('.md') && name !== 'docs/API.md',
);
const blocks = documents.flatMap((document) => {
  const text = readFileSync(join(projectRoot, document), 'utf8');
  return [...text.matchAll(/^ *```(\w*)\n(.*?)^ *```/gms)].map(([, language, body]) => ({
    document,
    language: language!,
    body: body!,
  }));
});
/** Of each verb that `primed` itself has; those that only the executable adds are daemons and doctor. */
const ofHelp: readonly Example[] = [...allVerbs(verbTree(makeProgram({ io: makeWorld(), exitCode: 0 }, [])))].flatMap(
  ({ words, examples }) => examples.map((command) => ({ document: ['help', ...words].join(' '), command })),
);
const isCommand = /^(?:apt|systemctl|dpkg|runuser|etcdctl|promtool|s3fs|rclone|echo|aws|npm|export|node|primed|curl) /;
const ofDocuments: readonly Example[] = blocks
  .filter(({ language }) => language === '' || language === 'sh')
  .flatMap(({ document, body }) =>
    body
      .replaceAll(/\\\n\s*/g, ' ')
      .split('\n')
      .map((line) => line.trim().replace(/\s+#\s.*$/, ''))
      .filter((line) => isCommand.test(line))
      .map((command) => ({ document, command })),
  );
const commands: readonly Example[] = [
  ...ofDocuments,
  ...ofHelp
    .filter(({ command }) => !ofDocuments.some((one) => one.command === command))
    // After what would find nothing any more.
    .sort((a, b) => Number(isFree(a)) - Number(isFree(b))),
];
function isFree({ command }: Example): boolean {
  return command.startsWith('primed job free');
}
const whyNot = ({ command }: Example): string | undefined => notRun.find(([pattern]) => pattern.test(command))?.[1];

const folder = temporaryFolder('doc-examples');
const nodes = ['node-7', 'node-8'];
let cluster: Cluster;
test('a cluster begins for them', async () => {
  cluster = await openCluster({
    origin: { bucket: 'bucket', buckets: ['b', 'datasets', 'models'], objects: [] },
    ...{ workers: nodes, storeSize: '64MB' },
  });
  const keys = ['dir/file', 'dir/other', 'file', 'urgent/file', 'old/file', 'imagenet/file'];
  for (const bucket of ['bucket', 'b', 'datasets'])
    for (const key of keys) cluster.origin.add({ bucket, key, sizeBytes: 3000 });
  cluster.origin.add({ bucket: 'datasets', key: 'a.bin', sizeBytes: 2 * MiB });
  cluster.origin.add({ bucket: 'models', key: 'llama/weights', sizeBytes: 3000 });
  for (const path of ['s3://b/dir/', 's3://bucket/dir/', 's3://datasets/']) await loaded(cluster.coordinator.api, path);
  writeFileSync(join(folder.path, 'primed'), `#!/bin/sh\nexec '${process.execPath}' '${executable}' "$@"\n`, {
    mode: 0o755,
  });
});
afterAll(async () => {
  await cluster?.close();
  folder.remove();
});

test('every reason not to run an example is needed', () => {
  expect(commands.length).toBeGreaterThan(30);
  expect(notRun.filter(([pattern]) => !commands.some(({ command }) => pattern.test(command)))).toEqual([]);
});

describe('commands', () => {
  const wanted = commands.filter((example) => whyNot(example) === undefined);
  test.each(wanted)('$document: $command', async ({ command }) => {
    const { api } = cluster.coordinator;
    const here = command
      .replaceAll('http://127.0.0.1:19999', api)
      .replaceAll('http://worker:28080', cluster.workers.get('node-8')!.api);
    const env = { PRIMED_COORDINATOR: api, PATH: `${folder.path}:${process.env.PATH}` };
    const { code, stderr } = await run('sh', ['-c', `cd '${folder.path}' && ${here}`], env);
    // Of a load that has ended by then there is nothing to stop, or to limit; of one that went well nothing to repeat.
    const stopped = /job (?:load --stop|limit)/.test(here) && code === 4;
    const over = stopped || (here.startsWith('primed job retry-failed') && stderr.includes('No file of load'));
    expect([here, over ? 0 : code, stderr]).toEqual([here, 0, expect.any(String)]);
    // What an example has submitted ends before the next one, which may be in its way; a worker that was removed is back.
    if (/s3:\/\/bucket\/dir\//.test(here)) await ended(api, 's3://bucket/dir/');
    if (here.startsWith('primed worker'))
      await untilLive(
        cluster,
        nodes.filter((id) => !here.endsWith(`drain ${id}`)),
      );
  });
});

describe('configuration', () => {
  const pieces = blocks.filter(
    ({ language, body }) =>
      language === 'toml' || (language === '' && /^\[\w/m.test(body) && !/^\[Service\]/m.test(body)),
  );
  test('there are some', () => expect(pieces.length).toBeGreaterThan(5));
  test.each(pieces)('$document: $body', ({ body }) => {
    const file = join(folder.path, 'example.toml');
    writeFileSync(file, body);
    let said = '';
    try {
      loadConfig({ role: 'standalone', flags: { config: file }, env: {} });
    } catch (error) {
      said = String(error);
    }
    // What the machine does not have, files and folders of the reader, is no fault of the example.
    expect(said).not.toMatch(/is unknown|must be|may be|cannot be read as|not allowed|is written/);
  });
});
