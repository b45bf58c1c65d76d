/** The manual page, roff(7), made of the verbs. */
import { allVerbs, type Verb } from './verb-tree.ts';

const environment: readonly (readonly [string, string])[] = [
  ['PRIMED_COORDINATOR', 'address of the coordinator, for verbs that ask one; default http://127.0.0.1:19999'],
  ['PRIMED_API_TOKEN', 'token that the API asks for'],
  ['PRIMED_API_TOKEN_FILE', 'file with that token in it'],
  ['PRIMED_CERT_FILE', 'client certificate (PEM) to show in place of a token, where the coordinator speaks TLS'],
  ['PRIMED_KEY_FILE', 'key of that certificate (PEM), if it is not in the same file'],
  ['PRIMED_TLS_CA_FILE', "certificates (PEM) to trust in place of the system's"],
  ['PRIMED_CONFIG', 'configuration file of the daemons'],
  ['PRIMED_*', 'every setting of the configuration file: PRIMED_WORKER_LANES is worker.lanes'],
  ['AWS_*', 'credentials, region and endpoint of S3, as usual'],
];
const files: readonly (readonly [string, string])[] = [
  ['/etc/primed/primed.toml', 'configuration of the daemons that systemd starts'],
  ['/etc/primed/primed.toml.d/*.toml', 'drop-ins, read after it in the order of their names'],
  ['/var/lib/primed', 'jobs, index, and the default store'],
];
const exits: readonly (readonly [string, string])[] = [
  ['0', 'done'],
  ['1', 'failed; a load that was followed ended FAILED or STOPPED'],
  ['2', 'wrong usage'],
  ['3', 'the coordinator cannot be reached'],
  ['4', 'no such job'],
  ['78', 'a daemon whose configuration cannot work'],
  ['129', 'left by SIGHUP'],
  ['130', 'left by Ctrl-C'],
  ['143', 'left by SIGTERM'],
];

export function manualPage(program: Verb, version: string): string {
  const lines = [
    `.TH PRIMED 1 "" "primed ${escaped(version)}"`,
    '.SH NAME',
    `primed \\- ${escaped(sentence(program.description))}`,
    '.SH SYNOPSIS',
    '.B primed',
    '.I verb',
    '[flags]',
    '.SH VERBS',
  ];
  for (const verb of allVerbs(program)) {
    if (verb.words.length === 0 || (verb.verbs.length > 0 && verb.flags.length === 0)) continue;
    lines.push(`.SS "primed ${escaped([...verb.words, ...verb.operands].join(' '))}"`, escaped(verb.description));
    for (const { long, short, value, description } of verb.flags) {
      const names = short === undefined ? long : `${short}, ${long}`;
      lines.push('.TP', `\\fB${escaped(names)}\\fR${value === undefined ? '' : ` \\fI${escaped(value)}\\fR`}`);
      lines.push(escaped(description));
    }
    if (verb.examples.length > 0) lines.push('.PP', 'Examples:', '.nf', ...verb.examples.map(escaped), '.fi');
  }
  lines.push(
    '.SH EXIT STATUS',
    ...terms(exits),
    '.SH ENVIRONMENT',
    ...terms(environment),
    '.SH FILES',
    ...terms(files),
  );
  return `${lines.join('\n')}\n`;
}

function terms(rows: readonly (readonly [string, string])[]): string[] {
  return rows.flatMap(([name, text]) => ['.TP', `\\fB${escaped(name)}\\fR`, escaped(text)]);
}

/** A name line of a manual has no capital and no full stop. */
function sentence(text: string): string {
  return `${text.charAt(0).toLowerCase()}${text.slice(1)}`.replace(/\.$/, '');
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replace(/^[.']/gm, '\\&$&');
}
