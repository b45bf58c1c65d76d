/** docs/MIGRATION.md against the tables of the program: what it names exists, and what a user of Alluxio looks for is in it. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { CliContext } from '../../../src/cli/context.ts';
import { makeProgram } from '../../../src/cli/run.ts';
import { allVerbs, verbTree } from '../../../src/cli/verb-tree.ts';
import { allTables } from '../../../src/config/settings.ts';
import { loadOptionNames } from '../../../src/core/load-options.ts';
import { roleOfRoute } from '../../../src/server/route-roles.ts';
import { metrics } from '../../../src/telemetry/metrics.ts';

const text = readFileSync(new URL('../../../docs/MIGRATION.md', import.meta.url), 'utf8');
/** The cells of each row of the table below a heading. */
function rowsBelow(heading: string): string[][] {
  const [, section] = text.split(`\n## ${heading}\n`);
  return section!
    .split('\n## ')[0]!
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('|---'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}
const codesIn = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code!);

/** Every verb that needs no daemon, by its words. */
const io = { stdout: process.stdout, stderr: process.stderr } as unknown as CliContext['io'];
const verbs = new Map(
  [...allVerbs(verbTree(makeProgram({ io, exitCode: 0 }, [])))].map((verb) => [verb.words.join(' '), verb]),
);
/** Those that the executable adds (main.ts). */
const otherVerbs = ['standalone', 'coordinator', 'worker', 'demo', 'doctor'];

test.each(['job load', 'job free', 'job list'])('every flag of primed %s is named', (words) => {
  const flags = verbs.get(words)!.flags.map(({ long }) => long);
  expect(flags.length).toBeGreaterThan(2);
  expect(flags.filter((flag) => !text.includes(`\`${flag}\``) && flag !== '--help')).toEqual([]);
});

test('every verb that is named exists', () => {
  const named = [...text.matchAll(/`primed ([a-z]+(?: [a-z-]+)?)/g)].map(([, words]) => words!);
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((words) => !verbs.has(words) && !otherVerbs.includes(words.split(' ')[0]!))).toEqual([]);
});

test('every option of a submission is named', () => {
  expect(loadOptionNames.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
});

test('every property has a row, and every setting that is named exists', () => {
  const known = new Set(
    allTables().flatMap((table) =>
      table.settings.map(({ path }) => `${table.path}.${path.slice(path.lastIndexOf('.') + 1)}`.replace(/^\./, '')),
    ),
  );
  /** `endpoint` of a row that also says `[[ufs]]` is `ufs.endpoint`. */
  const isSetting = (code: string, row: readonly string[]): boolean =>
    known.has(code) || row.some((other) => known.has(`${other.replaceAll(/[[\]]/g, '')}.${code}`));
  const rows = rowsBelow('alluxio-site.properties').slice(1);
  expect(rows.length).toBeGreaterThan(25);
  const wrong = rows.flatMap(([, ours]) => {
    const codes = codesIn(ours!);
    return codes
      .filter((code) => !/^\[\[|^replicas$|^cluster\.backend = /.test(code))
      .filter((code) => !isSetting(code, codes));
  });
  expect(wrong).toEqual([]);
  // What the client libraries and deployments that are public have in their files.
  for (const property of [
    ...['alluxio.coordinator.hostname', 'alluxio.worker.http.server.port', 'alluxio.worker.page.store.page.size'],
    ...['alluxio.worker.page.store.dirs', 'alluxio.worker.page.store.sizes', 'alluxio.etcd.endpoints'],
    ...['alluxio.etcd.username', 'alluxio.etcd.password', 'alluxio.cluster.name', 'alluxio.job.batch.size'],
    ...['alluxio.user.consistent.hash.virtual.node.count.per.worker', 'alluxio.dora.client.ufs.root'],
    ...['alluxio.underfs.s3.endpoint', 's3a.accessKeyId', 's3a.secretKey', 'alluxio.job.retention.time'],
  ])
    expect(rows.some(([theirs]) => codesIn(theirs!).includes(property))).toBe(true);
});

test('every metric of ours that is named exists', () => {
  const known = new Set<string>(Object.values(metrics).map(({ name }) => name));
  const rows = rowsBelow('Metrics').slice(1);
  expect(rows.length).toBeGreaterThan(8);
  expect(rows.flatMap(([, ours]) => codesIn(ours!)).filter((name) => !known.has(name))).toEqual([]);
});

test('every route of the three generations is named, and each that is named in full exists', () => {
  const contract = [
    ...['POST /api/v1/master/submit_job/load', 'GET /api/v1/master/progress_job/load'],
    ...['POST /api/v1/master/stop_job/load', 'GET /api/v1/master/list_job', 'GET /v1/load', 'POST /v1/load'],
    ...['POST /api/v1/load', 'GET /api/v1/load', 'DELETE /api/v1/load', 'GET /v1/files', 'GET /v1/node'],
  ];
  const named = rowsBelow('REST').flatMap(([route]) => codesIn(route!));
  expect(contract.filter((route) => !named.includes(route))).toEqual([]);
  for (const path of ['/v1/info', '/v1/range/{id}', '/v1/chunk/{id}', '/v1/head/{id}', '/v1/tail/{id}', '/v1/ufsInfo'])
    expect(named).toContain(path);
  const full = named.filter((route) => /^(?:GET|POST|PUT|DELETE) \/api\//.test(route));
  expect(full.length).toBeGreaterThan(6);
  for (const route of full) {
    const [method, url] = route.split(' ') as [string, string];
    expect([route, roleOfRoute(method, url)?.role]).toEqual([route, expect.any(String)]);
  }
});
