/**
 * Examines a node by its configuration, whether its daemon runs or not: looks (store, machine, reach) gather facts, and
 * `judge` says what they mean. Nothing is changed, and nothing that a daemon has open is locked.
 */
import { acceptConfig, type ConfigInput, readConfig } from '../config/load.ts';
import { checkMachine } from '../config/machine.ts';
import { type Finding, fail, ok } from '../core/finding.ts';
import { examineMachine } from './machine.ts';
import { daemonRuns, examineCoordinator, examineOrigins, examinePorts } from './reach.ts';
import { examineStores } from './store.ts';

/** @param paths at origins, to be listed besides those of the configuration */
export async function examineNode(input: ConfigInput, paths: readonly string[]): Promise<Finding[]> {
  const draft = readConfig(input);
  await checkMachine(draft, input.role);
  if (draft.errors.length > 0) {
    const remedy = 'correct it there; nothing else is looked at before that';
    return draft.errors.map((error) => fail('configuration', error, remedy));
  }
  const config = acceptConfig(draft, input.role);
  const read = draft.files.length === 0 ? 'flags, environment and defaults' : draft.files.join(', ');
  const runs = await daemonRuns(config);
  const [machine, ports, coordinator, origins] = await Promise.all([
    examineMachine(config),
    examinePorts(config, runs),
    examineCoordinator(config),
    examineOrigins(config, process.env, paths),
  ]);
  return [
    ok('configuration', `is right for ${input.role}: ${read}`),
    ok('daemon', runs ? 'runs' : 'does not run'),
    ...machine,
    ...(input.role === 'coordinator' ? [] : examineStores(config)),
    ...ports,
    ...coordinator,
    ...origins,
  ];
}
