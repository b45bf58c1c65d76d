/**
 * Examines a node by its configuration, whether its daemon runs or not: looks (store, machine, reach) gather facts, and
 * `judge` says what they mean. Nothing is changed, and nothing that a daemon has open is locked.
 */
import { type Config, configOf } from '../config/config.ts';
import type { Draft } from '../config/draft.ts';
import type { EtcdConfig } from '../config/etcd.ts';
import { type ConfigInput, readConfig } from '../config/load.ts';
import { checkMachine } from '../config/machine.ts';
import { type Finding, fail, ok, warn } from '../core/finding.ts';
import type { OnWalked } from '../store/index-walk.ts';
import { examineIndex } from './deep.ts';
import { judgeVersions } from './judge.ts';
import { examineMachine } from './machine.ts';
import { daemonRuns, examineCoordinator, examineOrigins, examinePorts } from './reach.ts';
import { examineMemory, examineStores, startAnew } from './store.ts';
import { wordedLater } from './worded.ts';

export interface EtcdSeen {
  /** The version of primed on each worker that holds a lease, by its id. */
  readonly members: ReadonlyMap<string, string>;
  readonly tookMs: number;
}

export interface Looks {
  /** Asks etcd for the members; rejects with a PrimedError. */
  readonly etcd: (settings: EtcdConfig) => Promise<EtcdSeen>;
}

/**
 * What is wrong with the configuration is found too, and the rest is examined by what of it can be understood: a value that is wrong
 * counts as not set.
 * @param how.paths at origins, to be listed besides those of the configuration
 * @param how.deep the whole index is read too, and who is told how far that is
 */
export async function examineNode(
  input: ConfigInput,
  { paths, deep }: { readonly paths: readonly string[]; readonly deep?: OnWalked },
  looks: Looks,
): Promise<Finding[]> {
  const draft = readConfig(input);
  await checkMachine(draft, input.role);
  const wrong = draft.errors.map((error) => fail('configuration', error, 'correct it there: no daemon starts with it'));
  const config = understood(input, draft);
  if (config === undefined)
    return [
      ...wrong,
      fail('examination', 'ends here: too little of the configuration is understood', 'correct it first'),
    ];
  const read = draft.files.length === 0 ? 'flags, environment and defaults' : draft.files.join(', ');
  const runs = await daemonRuns(config).catch(() => false);
  const remedy = 'correct the configuration first';
  // Where a setting of it is wrong its default stands in for it, which may be somebody else: to whom no secret is shown.
  const ask = (about: RegExp, what: string, look: () => Promise<Finding[]>) => async (): Promise<Finding[]> =>
    draft.errors.some((error) => about.test(error))
      ? [warn(what, 'not asked: what is wrong above is about it', remedy)]
      : look();
  const examined = await Promise.all([
    wordedLater('machine', remedy, () => examineMachine(config)),
    wordedLater('stores', remedy, async () => (input.role === 'coordinator' ? [] : examineStores(config))),
    wordedLater('memory', remedy, async () => (input.role === 'worker' ? [] : examineMemory(config))),
    wordedLater('ports', remedy, () => examinePorts(config, runs)),
    wordedLater(
      'coordinator',
      remedy,
      ask(/cluster|token|tls/i, 'coordinator', () => examineCoordinator(config)),
    ),
    wordedLater(
      'etcd',
      etcdRemedy,
      ask(/cluster|tls/i, 'etcd', () => examineEtcd(config, looks)),
    ),
    wordedLater(
      'origins',
      remedy,
      ask(/ufs|aws/i, 'origins', () => examineOrigins(config, process.env, paths)),
    ),
  ]);
  // Alone: it is what takes long, and its progress is shown.
  const walked =
    deep === undefined || input.role === 'coordinator'
      ? []
      : await wordedLater('index, all of it', startAnew, () => examineIndex(config, deep));
  return [
    ...(wrong.length > 0 ? wrong : [ok('configuration', `is right for ${input.role}: ${read}`)]),
    ok('daemon', runs ? 'runs' : 'does not run'),
    ...examined.flat(),
    ...walked,
  ];
}

/** Undefined: what is wrong with it leaves nothing to go by. */
function understood({ role }: ConfigInput, draft: Draft): Config | undefined {
  try {
    return configOf(role, draft);
  } catch (error) {
    // Only where something is wrong may a part of it be missing.
    if (draft.errors.length === 0) throw error;
    return undefined;
  }
}

const etcdRemedy = 'check cluster.etcd: endpoints, user, certificates; and that etcd runs: `etcdctl endpoint health`';

async function examineEtcd({ cluster: { etcd } }: Config, looks: Looks): Promise<Finding[]> {
  if (etcd === undefined) return [];
  const { members, tookMs } = await looks.etcd(etcd);
  const where = `answered in ${Math.round(tookMs)} ms; below ${etcd.prefix} it knows ${members.size} workers`;
  return [ok('etcd', where), judgeVersions(PRIMED_VERSION, members)];
}
