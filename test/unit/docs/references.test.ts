/** What documents point to is there: files and sections, settings, metrics, codes of errors, verbs with their flags, routes. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { daemonVerb } from '../../../src/cli/daemon-verb.ts';
import { doctorVerb } from '../../../src/cli/doctor.ts';
import { makeProgram } from '../../../src/cli/run.ts';
import { allVerbs, verbTree } from '../../../src/cli/verb-tree.ts';
import { allTables, settings } from '../../../src/config/settings.ts';
import { errorCatalogue } from '../../../src/core/errors.ts';
import { roleOfRoute } from '../../../src/server/route-roles.ts';
import { alerts } from '../../../src/telemetry/alerts.ts';
import { metrics } from '../../../src/telemetry/metrics.ts';
import { projectRoot } from '../../support/files.ts';
import { makeWorld } from '../cli/world.ts';

const read = (name: string): string => readFileSync(join(projectRoot, name), 'utf8');
const documents = [
  'README.md',
  ...readdirSync(join(projectRoot, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
  // What an alert says to do.
  'deploy/prometheus/primed.rules.yml',
];
const texts = documents.map((name) => [name, read(name)] as const);
const all = (text: string, pattern: RegExp): string[] => [
  ...new Set([...text.matchAll(pattern)].map(([whole, part]) => part ?? whole)),
];

/** As GitHub names sections. */
function anchorsOf(text: string): Set<string> {
  const seen = new Map<string, number>();
  const headings = text.replaceAll(/^ *```.*?^ *```/gms, '').match(/^#+ .*$/gm) ?? [];
  const given = [...text.matchAll(/<a id="([^"]+)">/g)].map(([, id]) => id!);
  return new Set([
    ...given,
    ...headings.map((heading) => {
      const plain = heading.replace(/^#+ /, '').replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1');
      const name = plain
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\-_ ]/gu, '')
        .replaceAll(' ', '-');
      const before = seen.get(name) ?? 0;
      seen.set(name, before + 1);
      return before === 0 ? name : `${name}-${before}`;
    }),
  ]);
}

test.each([...texts, ['CHANGELOG.md', read('CHANGELOG.md')] as const])('links of %s lead somewhere', (name, text) => {
  const links = all(text, /\]\(([^)\s]+)\)/g).filter((link) => !/^https?:/.test(link));
  const dead = links.filter((link) => {
    const [file = '', section] = link.split('#');
    const target = file === '' ? name : join(dirname(name), file);
    if (!existsSync(join(projectRoot, target))) return true;
    return section !== undefined && !anchorsOf(read(target)).has(section);
  });
  expect(dead).toEqual([]);
});

describe.each(texts)('what %s names exists:', (name, text) => {
  test('metrics and alerts', () => {
    const known = new Set<string>(Object.values(metrics).map((metric) => metric.name));
    // `primed_0.1.0_amd64.deb` is a file, `primed_s3_*` several metrics.
    const named = all(text, /\bprimed_[a-z][a-z0-9_]*/g).map((one) => one.replace(/_(?:bucket|sum|count)$/, ''));
    const isKnown = (one: string): boolean =>
      known.has(one) || (one.endsWith('_') && [...known].some((metric) => metric.startsWith(one)));
    expect(named.filter((one) => !isKnown(one))).toEqual([]);
    const firing = new Set<string>(alerts.map((alert) => alert.name));
    const alarming = all(text, /\bPrimed[A-Z][A-Za-z]+/g).filter((one) => !/^Primed(?:Error|Client)$/.test(one));
    expect(alarming.filter((one) => !firing.has(one))).toEqual([]);
  });

  test('names in the environment', () => {
    const known = new Set([...settings.values()].map(({ env }) => env));
    // Those of settings are made of their paths; others stand in the sources as they are.
    const sources = readdirSync(join(projectRoot, 'src'), { recursive: true, encoding: 'utf8' });
    const written = sources.filter((file) => file.endsWith('.ts')).map((file) => read(`src/${file}`));
    const others = new Set(written.flatMap((source) => all(source, /\bPRIMED_[A-Z0-9_]+\b/g)));
    const named = all(text, /\bPRIMED_[A-Z0-9_]*[A-Z0-9]\b(?!\*)/g);
    expect(named.filter((one) => !known.has(one) && !others.has(one))).toEqual([]);
  });

  test('settings', () => {
    const known = new Set([...settings.keys()].map((path) => path.replaceAll('[]', '')));
    const tables = new Set(allTables().map(({ path }) => path.replaceAll('[]', '')));
    const roots = new Set([...tables].filter((path) => path !== '').map((path) => path.split('.')[0]!));
    const named = all(text, /`([a-z0-9_]+(?:\.[a-z0-9_]+)+)`/g).filter(
      // A dot may also stand between a room and what it does, and in the name of a file.
      (one) =>
        name !== 'docs/ARCHITECTURE.md' && roots.has(one.split('.')[0]!) && !/\.(?:dat|ts|md|toml|mdb)$/.test(one),
    );
    expect(named.filter((one) => !known.has(one) && !tables.has(one))).toEqual([]);
    const headed = all(text, /`\[\[?([a-z0-9_.]+)\]\]?`/g);
    expect(headed.filter((one) => !tables.has(one))).toEqual([]);
  });

  test('verbs and their flags', () => {
    const blocks = all(text, /^ *```(?:sh)?\n(.*?)^ *```/gms);
    const lines = [
      ...all(text, /`(primed [^`\n]+)`/g),
      ...blocks.flatMap((block) => all(block, /^ *(primed [a-z].*)$/gm)),
    ];
    const wrong = lines.filter((line) => {
      const words = line
        .replace(/\s#\s.*$/, '')
        .split(/\s+/)
        .slice(1);
      const verb = longest(words);
      if (verb === undefined) return !/^(?:[A-Z…]|--|demo\b|manual\b)/.test(words[0] ?? '…');
      const flags = words.map((word) => word.replace(/=.*$/, '')).filter((word) => /^--[a-z]/.test(word));
      return flags.some((flag) => flag !== '--help' && !verb.flags.some(({ long }) => long === flag));
    });
    expect(wrong).toEqual([]);
  });

  test('routes', () => {
    const named = all(text, /`((?:GET|POST|PUT|DELETE) \/api\/[^`\s?…]+)[`?\s]/g).map((one) =>
      one.replaceAll(/\{(\w+)\}/g, ':$1'),
    );
    const unknown = named.filter((one) => {
      const [method, url] = one.split(' ') as [string, string];
      return roleOfRoute(method, url) === undefined;
    });
    expect(unknown).toEqual([]);
  });

  test('codes of errors', () => {
    // A code stands behind `code`, an answer's status, or in a refusal; other words in capitals are of HTTP, S3 and Linux.
    const rooms = new Set(Object.keys(errorCatalogue).map((code) => code.split('_')[0]!));
    const named = all(text, /`([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)`/g).filter((one) => rooms.has(one.split('_')[0]!));
    const ofStatus = ['NOT_FOUND', 'IF_CHANGED'];
    expect(named.filter((one) => !Object.hasOwn(errorCatalogue, one) && !ofStatus.includes(one))).toEqual([]);
  });
});

const verbs = (() => {
  const roles = ['standalone', 'coordinator', 'worker'] as const;
  const daemons = roles.map((role) => daemonVerb({ role, description: role, start: async () => 0 }));
  const doctor = doctorVerb(async () => []);
  return [...allVerbs(verbTree(makeProgram({ io: makeWorld(), exitCode: 0 }, [...daemons, doctor])))];
})();

/** The verb that a command line begins with. */
function longest(words: readonly string[]) {
  return verbs
    .filter((verb) => verb.words.length > 0 && verb.words.every((word, at) => word === words[at]))
    .sort((a, b) => b.words.length - a.words.length)[0];
}
