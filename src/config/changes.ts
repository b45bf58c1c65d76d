/** What another reading of the configuration changes, and which of it a running daemon can take. */
import type { Config } from './config.ts';
import { settingAt } from './settings.ts';

export interface Changes {
  /** Settings by their paths. */
  readonly live: readonly string[];
  /** Those that count only after a restart. */
  readonly restart: readonly string[];
}

type Values = Config['values'];

export function changesOf(before: Values, after: Values): Changes {
  const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
    // Where a secret lies is nothing by itself: what it is counts.
    (key) => before.get(key) !== after.get(key) && settingAt(key)?.leaf.credential !== true,
  );
  // Who listens somewhere else from the next start on is asked for something else there, and not here.
  const opens = changed.some((key) => key === 'insecure' || key.endsWith('listen'));
  // Origins themselves are opened at a start; an entry that comes or goes also moves those behind it.
  const moves = changed.some((key) => /^ufs\[\d+\]\.prefix$/.test(key));
  const isLive = (key: string): boolean => {
    if ((opens && key.startsWith('s3.')) || (moves && key.startsWith('ufs['))) return false;
    const live = settingAt(key)?.leaf.live;
    return live === true || (live === 'replaced' && before.has(key) && after.has(key));
  };
  const live = changed.filter(isLive);
  return { live, restart: changed.filter((key) => !live.includes(key)) };
}
