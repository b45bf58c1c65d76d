#!/usr/bin/env node
// Makes docs/BENCHMARKS.md, and the table of figures in README.md, from docs/benchmarks/*.json. The numbers in those
// files were written by `npm run bench -- <name> --publish`; nobody types one. With --check nothing is written, and a
// document that differs from what would be written is an error.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const publishedDir = join(root, 'docs', 'benchmarks');
const markers = { begin: '<!-- figures: begin (npm run bench -- all --publish) -->', end: '<!-- figures: end -->' };

/** The order of the documents; anything else follows by name. */
const order = [
  ...['load', 'small', 'tls', 'serving', 'radosgw', 'stores', 'cycles', 'memory', 'start', 'scrape', 'ring'],
  ...['scaling', 'replicas', 'sharing', 'manifest', 'failover', 'micro'],
];
const rankOf = (name) => (order.includes(name) ? order.indexOf(name) : order.length);

function readResults() {
  if (!existsSync(publishedDir)) return [];
  return readdirSync(publishedDir)
    .filter((file) => file.endsWith('.json'))
    .map((file) => JSON.parse(readFileSync(join(publishedDir, file), 'utf8')))
    .sort((a, b) => rankOf(a.name) - rankOf(b.name) || (a.name < b.name ? -1 : 1));
}

/** Three digits that count, and separators in large numbers. */
function shown(value) {
  if (value >= 1000) return Math.round(Number(value.toPrecision(3))).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}
const withUnit = (value, unit) => (unit === 'x' ? `${shown(value)}x` : `${shown(value)} ${unit}`.trimEnd());

function table(head, rows) {
  const line = (cells) => `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---|').join('')}`, ...rows.map(line)].join('\n');
}

function verdictTable(verdicts) {
  return table(
    ['what', 'measured', 'to reach', ''],
    verdicts.map((v) => [
      v.name,
      `**${withUnit(v.value, v.unit)}**`,
      `${v.bound} ${withUnit(v.limit, v.unit)}`,
      v.met ? 'reached' : 'not reached',
    ]),
  );
}

function section(result) {
  const columns = [...new Set(result.rows.flatMap((row) => Object.keys(row.figures)))];
  const cell = (figure) => {
    if (figure === undefined) return '';
    const range =
      figure.samples.length > 1
        ? ` (${shown(Math.min(...figure.samples))} to ${shown(Math.max(...figure.samples))})`
        : '';
    return `${withUnit(figure.value, figure.unit)}${range}`;
  };
  const parameters = Object.entries(result.parameters)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
  const { machine } = result;
  return [
    `## ${result.title}`,
    result.about,
    ...(result.rows.length > 0
      ? [
          table(
            ['', ...columns],
            result.rows.map((row) => [row.name, ...columns.map((column) => cell(row.figures[column]))]),
          ),
        ]
      : []),
    ...(result.verdicts.length > 0 ? [verdictTable(result.verdicts)] : []),
    ...(result.notes.length > 0 ? [result.notes.map((note) => `- ${note}`).join('\n')] : []),
    [
      `Repeat it: \`${result.command}\`. Medians of ${result.runs} (smallest to largest)${parameters === '' ? '' : `; ${parameters}`}.`,
      `Measured on ${result.date.slice(0, 10)} at commit ${result.commit}: ${machine.cpu}, ${machine.cores} cores,`,
      `${machine.memoryGiB} GiB, Linux ${machine.kernel}, ${machine.device}, Node ${machine.node}.`,
    ].join(' '),
  ].join('\n\n');
}

function benchmarksDocument(results) {
  const head = `<!-- Made by scripts/generate-benchmarks.mjs from docs/benchmarks/*.json. Do not edit. -->

# Benchmarks

Every number here was written by a program, beside its ceiling and in the same run. The sides of a comparison are
measured in turns, and a ratio is the median of the ratios of the turns. Take the ratios with you; the absolute figures
are those of one machine.

\`\`\`
npm run bench -- --help             # what there is
npm run bench -- load small         # results in bench-results/
npm run bench -- load --runs 9 --dir /mnt/nvme
npm run bench -- all --publish      # results in docs/benchmarks/, and this document made anew
\`\`\`

nginx, a C compiler and openssl are needed; fio, rclone, curl and radosgw (Debian: \`radosgw ceph-mon ceph-osd
ceph-common\`) are used where they are installed. \`scaling\` needs root, iproute2 and nftables, and says so where
they are missing. Nothing listens beyond loopback and network namespaces of the benchmark's own, and everything that it
starts or writes, other than its results, is gone when it ends.`;
  const body = results.length === 0 ? ['No results are published yet.'] : results.map(section);
  return `${[head, ...body].join('\n\n')}\n`;
}

function readmeWithFigures(readme, results) {
  const from = readme.indexOf(markers.begin);
  const to = readme.indexOf(markers.end);
  if (from < 0 || to < from) throw new Error(`README.md has no lines "${markers.begin}" and "${markers.end}"`);
  const verdicts = results.flatMap((result) => result.verdicts);
  const figures = verdicts.length === 0 ? 'No results are published yet.' : verdictTable(verdicts);
  return `${readme.slice(0, from)}${markers.begin}\n\n${figures}\n\n${readme.slice(to)}`;
}

const results = readResults();
const readmePath = join(root, 'README.md');
const documents = new Map([
  [join(root, 'docs', 'BENCHMARKS.md'), benchmarksDocument(results)],
  [readmePath, readmeWithFigures(readFileSync(readmePath, 'utf8'), results)],
]);
const stale = [...documents].filter(([path, text]) => !existsSync(path) || readFileSync(path, 'utf8') !== text);
if (process.argv.includes('--check')) {
  for (const [path] of stale)
    console.error(
      `${relative(root, path)} is not what the published results make; run node scripts/generate-benchmarks.mjs`,
    );
  process.exitCode = stale.length > 0 ? 1 : 0;
} else {
  for (const [path, text] of stale) {
    writeFileSync(path, text);
    console.log(`wrote ${relative(root, path)}`);
  }
}
