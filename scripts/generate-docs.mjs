#!/usr/bin/env node
// Writes docs/CONFIGURATION.md, docs/METRICS.md, docs/ERRORS.md, Prometheus' rules and Grafana's dashboard from the tables in src/,
// so that they cannot say anything else than the program. With --check it writes nothing and fails when a file would change.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const checking = process.argv.includes('--check');

const { allTables, describeRange, metrics, rulesFile, grafanaDashboard, errorCatalogue, httpStatusOf } =
  await importSources(`
  export { allTables } from './src/config/settings.ts';
  export { describeRange } from './src/config/forms.ts';
  export { metrics } from './src/telemetry/metrics.ts';
  export { rulesFile } from './src/telemetry/alerts.ts';
  export { grafanaDashboard } from './src/telemetry/dashboard/grafana.ts';
  export { errorCatalogue, httpStatusOf } from './src/core/errors.ts';
`);

const documents = {
  'docs/CONFIGURATION.md': configuration(),
  'docs/METRICS.md': metricsTable(),
  'docs/ERRORS.md': errors(),
  'deploy/prometheus/primed.rules.yml': `# Generated from src/telemetry/alerts.ts by scripts/generate-docs.mjs. Do not edit.\n${rulesFile()}`,
  'deploy/grafana/primed.json': `${JSON.stringify(grafanaDashboard(), undefined, 1)}\n`,
};
let stale = 0;
for (const [name, contents] of Object.entries(documents)) {
  const path = join(root, name);
  if (readIfThere(path) === contents) continue;
  if (checking) {
    console.error(`${name} is not what the sources say: run node scripts/generate-docs.mjs`);
    stale += 1;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, contents);
    console.log(name);
  }
}
process.exitCode = stale > 0 ? 1 : 0;

/** Bundles a module of exports and imports the result: the sources are TypeScript, and Node 20 reads only JavaScript. */
async function importSources(contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root, loader: 'ts' },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    logLevel: 'warning',
  });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`);
}

function readIfThere(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function head(title, source) {
  return `<!-- Generated from ${source} by scripts/generate-docs.mjs. Do not edit. -->\n# ${title}\n`;
}

function table(columns, rows) {
  const line = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(columns), `|${'---|'.repeat(columns.length)}`, ...rows.map(line)].join('\n');
}

function code(value) {
  return `\`${value}\``;
}

function configuration() {
  const sections = allTables()
    .filter(({ settings }) => settings.length > 0)
    .map(({ path, description, repeats, settings }) => {
      const name = path === '' ? 'Top level' : repeats ? code(`[[${path}]]`) : code(`[${path}]`);
      const rows = settings.map(({ path: key, leaf, required, env }) => {
        const range = describeRange(leaf);
        const choices = leaf.choices?.map((choice) => code(`"${choice}"`)).join(', ');
        const limits =
          choices ?? (range === undefined || range === 'must be a whole number' ? '' : range.replace('must be ', ''));
        const secret = leaf.secret ? ' Secret: never shown or logged.' : '';
        const live = leaf.live === true ? ' Live.' : leaf.live === 'replaced' ? ' Live where it was set before.' : '';
        return [
          code(key.slice(key.lastIndexOf('.') + 1)),
          leaf.form === 'choice' ? 'text' : leaf.form,
          `${leaf.description}${limits === '' ? '' : ` Allowed: ${limits}.`}${secret}${live}`,
          required ? 'must be set' : leaf.default === undefined ? (leaf.unset ?? '') : code(written(leaf)),
          [env, leaf.flag && `--${leaf.flag}`].filter(Boolean).map(code).join(' '),
        ];
      });
      const columns = ['setting', 'form', 'meaning', 'default', 'also as'];
      return `\n## ${name}\n${description === '' ? '' : `${description}\n`}\n${table(columns, rows)}\n`;
    });
  return `${head('Configuration', 'src/config/schema.ts')}
The daemons read a TOML file (\`--config FILE\`, or PRIMED_CONFIG), its drop-ins, the environment and their flags. A flag wins
over the environment, the environment over the files, the files over the default. A relative path in a file starts at the folder of
that file, one in the environment or a flag at the working directory.

Drop-ins of \`/etc/primed/primed.toml\` are \`/etc/primed/primed.toml.d/*.toml\`, read after it in the order of their names (hidden
ones are not read). Of a setting the last word counts; entries of tables that repeat (\`[[ufs]]\`, \`[[worker.store]]\`, \`[[s3.key]]\`) are added to
those of the files before. Within one file a key that is there twice is an error.

A configuration that cannot work ends a daemon before it opens anything, with exit code 78 and all errors in one list, each with file and
line: keys and \`PRIMED_…\` variables that are not known, values that are wrong, settings that contradict each other, and what the machine
shows: folders without rights, disks that are too small, certificates, ports in use. \`primed config check\` says the same without
starting anything, \`primed config show\` every value with where it comes from; both with \`--config FILE\` and \`--role ROLE\`.

At SIGHUP (\`systemctl reload\`) a daemon reads all of it again, and takes over what is marked "live"; of what else has changed its log
says that it counts only after a restart. With an error nothing changes. Settings below \`[s3]\` are taken over only while \`insecure\` and the
addresses stay the same, those of \`[[ufs]]\` only while no entry comes, goes or changes its prefix.

| form | how it is written |
|---|---|
| size | a number with \`B\`, \`KB\`, \`MB\`, \`GB\`, \`TB\`, \`PB\` (1024-based, any case, decimals allowed): \`"512MB"\`, \`"1.5g"\`; a plain number is bytes |
| room | a size, or a share of the whole disk on which the folder lies: \`"80%"\` |
| duration | numbers with \`ms\`, \`s\`, \`m\`, \`h\`, \`d\`, \`w\`: \`"30s"\`, \`"1h 30m"\`; the unit must be there |
| listen | \`"HOST:PORT"\`, an IPv6 address in brackets; port 0 takes any free one |
| path, text, url | \`"…"\` |
| boolean, integer, number | as in TOML |

An address that is not loopback is refused unless \`api_token\` is set; the S3 port, which answers unsigned requests, and
any port without a token need \`insecure = true\`.
${sections.join('')}`;
}

/** A default as it would stand in the file. */
function written(leaf) {
  return typeof leaf.default === 'string' ? JSON.stringify(leaf.default) : String(leaf.default);
}

function metricsTable() {
  const rows = Object.values(metrics).map((row) => {
    const labels = Object.entries(row.labels ?? {}).map(
      ([name, values]) => `${code(name)}: ${Array.isArray(values) ? values.map(code).join(', ') : values.says}`,
    );
    return [
      code(row.name),
      row.type,
      row.unit,
      row.help,
      labels.join('; '),
      row.role === 'both' ? 'both' : row.role,
      row.stability,
    ];
  });
  return `${head('Metrics', 'src/telemetry/metrics.ts')}
Every daemon answers \`GET /metrics\` in the text format of Prometheus: the coordinator on its API port, the worker on its
HTTP port. \`stable\` metrics keep their name and meaning within a major version. The \`process_…\` and \`nodejs_…\` metrics
of prom-client are there as well.

Where a load spends its time: a part is queued for a socket, waits for the first byte, receives its body, is written, and
waits for the commit (fdatasync, then index). \`primed_part_queued_seconds\`, \`primed_part_first_byte_seconds\`,
\`primed_part_body_seconds\`, \`primed_disk_write_seconds\` and \`primed_land_seconds\` are these stages in order.
\`primed_slots_in_use\` near \`primed_slots\` says that the disk is the limit; \`primed_origin_concurrency_limit\` below
\`primed_origin_concurrency_max\`, that the origin throttles; \`primed_event_loop_utilization_ratio\` near 1, that a thread is.

${table(['metric', 'type', 'unit', 'meaning', 'labels', 'shown by', 'stability'], rows)}
`;
}

function errors() {
  const rows = Object.entries(errorCatalogue).map(([name, { status, retryable, help }]) => [
    code(name),
    `${httpStatusOf[status]} ${code(status)}`,
    retryable ? 'yes' : 'no',
    help,
  ]);
  return `${head('Errors', 'src/core/errors.ts')}
Every failure that a user can meet. The REST API answers the HTTP status with
\`{"statusCode":"…","message":"…","code":"…"}\`; logs and reports carry the code as well. "Again" says whether the same
call can succeed later without anyone changing anything.

${table(['code', 'HTTP status', 'again', 'meaning, and what to do'], rows)}
`;
}
