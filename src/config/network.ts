/** How fast the network of the machine is, as its cards say. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A card says megabits of 1,000,000. */
const bytesOfAMegabit = 125_000;

/**
 * Bytes per second of all cards that are up; undefined: none says how fast it is, as those of virtual machines do not. A bond
 * counts by its cards, and what has no hardware (bridges, tunnels, loopback) not at all.
 * @param folder where Linux tells of them
 */
export function linkBytesPerSecond(folder = '/sys/class/net'): number | undefined {
  const megabits = namesIn(folder).reduce((sum, name) => sum + megabitsOf(join(folder, name)), 0);
  return megabits > 0 ? megabits * bytesOfAMegabit : undefined;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function megabitsOf(card: string): number {
  if (!existsSync(join(card, 'device'))) return 0;
  try {
    if (readFileSync(join(card, 'operstate'), 'utf8').trim() !== 'up') return 0;
    // -1, or EINVAL, where it is not known.
    return Math.max(0, Number.parseInt(readFileSync(join(card, 'speed'), 'utf8'), 10) || 0);
  } catch {
    return 0;
  }
}
