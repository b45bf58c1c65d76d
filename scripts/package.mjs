#!/usr/bin/env node
// Makes packages in dist-packages/: primed_<version>_<arch>.deb and primed-<version>-linux-<arch>.tar.gz.
// Both hold all that a node needs: this Node, the bundles, the addon, the packages that carry binaries of their own.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { version, description } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
/** What the bundles leave outside: packages with binaries, or that start files of their own (scripts/bundle.mjs). */
const outside = ['lmdb', 'piscina', 'pino', 'msgpackr'];
const debianArchitecture = { x64: 'amd64', arm64: 'arm64' }[process.arch];
if (process.platform !== 'linux' || debianArchitecture === undefined) {
  console.error(`package: made on Linux, x64 or arm64; this is ${process.platform} ${process.arch}.`);
  process.exit(1);
}

const out = join(root, 'dist-packages');
const stage = join(out, 'stage');
rmSync(out, { recursive: true, force: true });
const tree = join(stage, `primed-${version}-linux-${process.arch}`);
mkdirSync(tree, { recursive: true });

const write = (path, text, mode = 0o644) => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, mode);
};
const copy = (from, to, mode = 0o644) => {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
  chmodSync(to, mode);
};

program(join(tree, 'lib'));
write(
  join(tree, 'bin', 'primed'),
  '#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\nexec "$here/../lib/node" "$here/../lib/dist/main.js" "$@"\n',
  0o755,
);
texts(join(tree, 'share'));
cpSync(join(root, 'deploy', 'systemd'), join(tree, 'systemd'), { recursive: true });
copy(join(root, 'deploy', 'package', 'primed.toml'), join(tree, 'etc', 'primed.toml'));
run('tar', [
  '--owner=0',
  '--group=0',
  '-czf',
  join(out, `primed-${version}-linux-${process.arch}.tar.gz`),
  '-C',
  stage,
  `primed-${version}-linux-${process.arch}`,
]);

debianPackage(join(stage, 'deb'));
rmSync(stage, { recursive: true, force: true });
for (const name of readdirSync(out)) console.log(join('dist-packages', name));

/** Node, bundles, addon, and packages. */
function program(lib) {
  copy(realpathSync(process.execPath), join(lib, 'node'), 0o755);
  cpSync(join(root, 'dist'), join(lib, 'dist'), {
    recursive: true,
    filter: (path) => !path.endsWith('.map') && !path.endsWith('/bench.js'),
  });
  copy(join(root, 'native', 'build', 'primed.node'), join(lib, 'native', 'build', 'primed.node'));
  for (const [name, folder] of closure(outside)) {
    cpSync(folder, join(lib, 'node_modules', name), {
      recursive: true,
      dereference: true,
      filter: (path) =>
        !/\/(test|tests|benchmark|bench|examples|docs|\.github)(\/|$)|\.(map|md|ts|c|cc|cpp|h)$/.test(
          path.slice(folder.length),
        ),
    });
  }
}

/** Packages with all that they need, by name; what is optional only where it is installed. */
function closure(names) {
  const found = new Map();
  const queue = names.map((name) => ({ name, from: root, optional: false }));
  for (const { name, from, optional } of queue) {
    if (found.has(name)) continue;
    const folder = folderOf(name, from);
    if (folder === undefined) {
      if (optional) continue;
      throw new Error(`${name}, which ${from} needs, is not installed`);
    }
    found.set(name, folder);
    const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
      readFileSync(join(folder, 'package.json'), 'utf8'),
    );
    for (const next of Object.keys(dependencies))
      queue.push({ name: next, from: folder, optional: next in optionalDependencies });
    for (const next of Object.keys(optionalDependencies)) queue.push({ name: next, from: folder, optional: true });
  }
  return found;
}

function folderOf(name, from) {
  for (const paths of createRequire(join(from, 'package.json')).resolve.paths(name) ?? []) {
    const folder = join(paths, name);
    if (existsSync(join(folder, 'package.json'))) return folder;
  }
  return undefined;
}

/** Manual, completion, documents, licences, rules and dashboard. */
function texts(share) {
  const main = join(root, 'dist', 'main.js');
  const say = (...words) => execFileSync(process.execPath, [main, ...words]);
  write(join(share, 'man', 'man1', 'primed.1.gz'), gzipSync(say('manual'), { level: 9 }));
  write(join(share, 'bash-completion', 'completions', 'primed'), say('completion', 'bash'));
  write(join(share, 'zsh', 'vendor-completions', '_primed'), say('completion', 'zsh'));
  write(join(share, 'fish', 'vendor_completions.d', 'primed.fish'), say('completion', 'fish'));
  // For Prometheus and Grafana, wherever those run.
  for (const folder of ['prometheus', 'grafana'])
    for (const name of readdirSync(join(root, 'deploy', folder)))
      copy(join(root, 'deploy', folder, name), join(share, 'primed', folder, name));
  const docs = join(share, 'doc', 'primed');
  for (const name of readdirSync(join(root, 'docs')))
    if (name.endsWith('.md')) copy(join(root, 'docs', name), join(docs, name));
  for (const name of ['README.md', 'CHANGELOG.md']) copy(join(root, name), join(docs, name));
  write(join(docs, 'copyright'), licences());
}

/** Ours, and of everything that is inside: the packages of the lock file that are not for development, and Node. */
function licences() {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const parts = [`primed\n\n${readFileSync(join(root, 'LICENSE'), 'utf8')}`];
  for (const [path, { dev }] of Object.entries(packages)) {
    const folder = join(root, path);
    if (path === '' || dev === true || !existsSync(folder)) continue;
    const { name, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
    parts.push(`${name} (${license})\n\n${file === undefined ? '' : readFileSync(join(folder, file), 'utf8')}`);
  }
  parts.push('Node.js (MIT and others): https://github.com/nodejs/node/blob/main/LICENSE\n');
  return parts.join(`\n${'-'.repeat(78)}\n\n`);
}

function debianPackage(deb) {
  const at = (...names) => join(deb, ...names);
  cpSync(join(tree, 'lib'), at('usr', 'lib', 'primed'), { recursive: true });
  write(at('usr', 'bin', 'primed'), '#!/bin/sh\nexec /usr/lib/primed/node /usr/lib/primed/dist/main.js "$@"\n', 0o755);
  cpSync(join(tree, 'share'), at('usr', 'share'), { recursive: true });
  for (const name of readdirSync(join(root, 'deploy', 'systemd')))
    copy(join(root, 'deploy', 'systemd', name), at('lib', 'systemd', 'system', name));
  // May hold secrets: for the daemons' group only, which `postinst` makes.
  copy(join(root, 'deploy', 'package', 'primed.toml'), at('etc', 'primed', 'primed.toml'), 0o640);
  copy(join(root, 'deploy', 'package', 'default'), at('etc', 'default', 'primed'), 0o640);
  for (const script of ['postinst', 'prerm', 'postrm'])
    copy(join(root, 'deploy', 'package', script), at('DEBIAN', script), 0o755);
  write(at('DEBIAN', 'conffiles'), '/etc/primed/primed.toml\n/etc/default/primed\n');
  write(
    at('DEBIAN', 'control'),
    [
      'Package: primed',
      `Version: ${version}`,
      `Architecture: ${debianArchitecture}`,
      'Maintainer: the primed maintainers <primed@localhost>',
      'Section: net',
      'Priority: optional',
      'Depends: libc6 (>= 2.28), libstdc++6, libgcc-s1, passwd',
      `Installed-Size: ${Math.ceil(sizeOf(deb) / 1024)}`,
      `Description: ${description.split(',')[0]}`,
      ` ${description}.`,
      '',
    ].join('\n'),
  );
  run('dpkg-deb', [
    '--root-owner-group',
    '-Zxz',
    '-z1',
    '--build',
    deb,
    join(out, `primed_${version}_${debianArchitecture}.deb`),
  ]);
}

function sizeOf(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + readFileSync(join(parentPath, name)).length, 0);
}

function run(name, args) {
  execFileSync(name, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}
