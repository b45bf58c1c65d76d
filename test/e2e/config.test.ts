/** `primed config check|show`, and daemons whose configuration cannot work. */
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run, type Said } from '../support/cli.ts';
import { executable, spawnDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';

const folder = temporaryFolder('config');
const file = join(folder.path, 'primed.toml');
const at = (name: string): string => join(folder.path, name);
const config = (words: readonly string[], env: Record<string, string> = {}): Promise<Said> =>
  run(process.execPath, [executable, 'config', ...words, '--config', file], env);
const ports = 'api.listen = "127.0.0.1:0"\nworker.http_listen = "127.0.0.1:0"\nworker.s3_listen = "127.0.0.1:0"\n';

function write(toml: string, dropIn = ''): void {
  writeFileSync(file, `${ports}${toml}`);
  mkdirSync(`${file}.d`, { recursive: true });
  writeFileSync(at('primed.toml.d/50-site.toml'), dropIn);
}

beforeAll(() => writeFileSync(at('token'), 'hush-hush\n'));
afterAll(() => folder.remove());

describe('primed config check', () => {
  it('lists all errors with file and line, of form, rules and machine, and exits 78', async () => {
    write('data_dir = "token/x"\nworker.lans = 2\n[tls]\ncert_file = "none.pem"\n', '[log]\nlevel = "loud"');
    const said = await config(['check']);
    expect(said).toMatchObject({ code: 78, stdout: '' });
    expect(said.stderr.replaceAll(`${folder.path}/`, '').split('\n')).toEqual([
      'primed: The configuration has 5 errors:',
      '  primed.toml:5: worker.lans: is unknown; did you mean lanes?',
      '  primed.toml.d/50-site.toml:2: log.level: must be one of "debug", "info", "warn", "error", not "loud"',
      '  primed.toml:7: tls.cert_file: needs tls.key_file beside it',
      '  primed.toml:4: data_dir: something above token/x is not a folder (ENOTDIR)',
      '  primed.toml:7: tls.cert_file: there is no file none.pem',
      '',
    ]);
  });

  it('says what it looked at where all is right, and makes nothing', async () => {
    write('data_dir = "data"\napi_token_file = "token"\n', 'worker.store_size = "1%"');
    const said = await config(['check', '--role', 'worker']);
    expect(said).toMatchObject({ code: 0, stderr: '' });
    expect(said.stdout.replaceAll(`${folder.path}/`, '').split('\n')).toEqual([
      'primed.toml',
      'primed.toml.d/50-site.toml',
      'data_dir: data may be written',
      expect.stringMatching(/^store: data\/store, .*B, to be made$/),
      'worker.http_listen: 127.0.0.1:0 is free',
      'worker.s3_listen: 127.0.0.1:0 is free',
      'The configuration is right for worker.',
      '',
    ]);
    expect(existsSync(at('data'))).toBe(false);
  });

  it('with --text-only judges what is written, whoever asks: secrets and the machine are not looked at', async () => {
    write('data_dir = "token/x"\napi_token_file = "credential"\n[tls]\ncert_file = "c.pem"\nkey_file = "k.pem"\n', '');
    expect(await config(['check', '--role', 'worker'])).toMatchObject({ code: 78 });
    const said = await config(['check', '--text-only', '--role', 'worker']);
    expect(said).toMatchObject({ code: 0, stderr: '' });
    expect(said.stdout).toContain('is right for worker, as far as it is written');
    write('nonsense = 1\napi_token_file = "credential"\n', '');
    expect((await config(['check', '--text-only'])).stderr).toMatch(/has an error:\n.*nonsense: is unknown/);
  });

  it('a wrong command line stays 2', async () => {
    expect(await config(['check', '--rolle', 'worker'])).toMatchObject({ code: 2 });
    expect(await config(['check', '--role', 'boss'])).toMatchObject({ code: 2 });
  });
});

it('primed config show has every value with its place, and hides secrets', async () => {
  write('data_dir = "data"\napi_token_file = "token"\n', 'worker.lanes = 3\n[[ufs]]\nprefix = "s3://"');
  const env = { PRIMED_LOG_LEVEL: 'warn' };
  const flags = ['--data', at('elsewhere')];
  const said = await config(['show', ...flags], env);
  expect(said.code).toBe(0);
  const lines = said.stdout
    .replaceAll(`${folder.path}/`, '')
    .split('\n')
    .map((line) => line.replaceAll(/ {2,}/g, '|'));
  expect(lines).toEqual(
    expect.arrayContaining([
      'SETTING|VALUE|RELOAD|FROM',
      'data_dir|elsewhere|restart|--data',
      'api_token|(hidden)|replaced|primed.toml:5',
      'worker.lanes|3|restart|primed.toml.d/50-site.toml:1',
      'log.level|warn|live|PRIMED_LOG_LEVEL',
      'job.max_active|4|live|default',
      'ufs[0].prefix|s3://|restart|primed.toml.d/50-site.toml:3',
    ]),
  );
  const json = JSON.parse((await config(['show', ...flags, '--format', 'json'], env)).stdout);
  expect(json).toContainEqual(expect.objectContaining({ key: 'worker.memory_budget', kind: 'computed' }));
  expect(json).toContainEqual(expect.objectContaining({ key: 'worker.lanes', value: 3, line: 1 }));
  expect(said.stdout + JSON.stringify(json)).not.toContain('hush');
});

describe('a daemon that cannot start', () => {
  /** Rights mean nothing to root. */
  const asNobody = process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--clear-groups'] : [];

  it('in a folder without rights: exit 78, the folder and the remedy', async () => {
    chmodSync(folder.path, 0o755);
    mkdirSync(at('closed'));
    chmodSync(at('closed'), 0o555);
    const daemon = await spawnDaemon({ dataDir: at('closed/data'), by: asNobody, log: at('closed.log') });
    expect(await daemon.exited).toEqual({ code: 78, signal: null });
    expect(daemon.log()).toMatch(
      /--data: the user of the daemon \(uid \d+\) may not write to .*closed \(EACCES\), and .*closed\/data cannot be made in it; chown it/,
    );
  });

  it('with two things wrong that only the machine shows: both in one list', async () => {
    write('[tls]\ncert_file = "token"\nkey_file = "token"\n', '');
    const daemon = await spawnDaemon({
      dataDir: at('token/data'),
      args: ['--config', file],
      log: at('two.log'),
    });
    expect(await daemon.exited).toEqual({ code: 78, signal: null });
    expect(daemon.log()).toMatch(
      /The configuration has 2 errors:\n.*--data: .*\n.*:5: tls\.cert_file: .*no certificate/,
    );
  });
});
