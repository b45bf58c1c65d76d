/** A configuration as the daemon has it, without its look at the machine: folders, certificates and ports may not be usable. */
import type { Config } from '../../src/config/config.ts';
import { acceptConfig, type ConfigInput, readConfig } from '../../src/config/load.ts';

/** Throws CONFIG_INVALID. */
export function loadConfig(input: ConfigInput): Config {
  return acceptConfig(readConfig(input), input.role);
}
