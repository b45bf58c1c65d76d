/** `[scrub]`: how often everything that is cached is read again. */
import Type from 'typebox';
import type { ScrubPace } from '../core/scrub.ts';
import { MiB } from '../core/units.ts';
import type { Draft } from './draft.ts';
import { duration, size } from './forms.ts';

export const scrubSchema = Type.Object(
  {
    period: duration({
      description:
        'Every byte that is cached is read again once in so long, and bad pages are replaced from another worker or the origin. `0s`: never.',
      default: '14d',
      minimum: 0,
      maximum: 3650 * 86_400_000,
    }),
    bandwidth: size({
      description: 'Bytes a second that are read so at most, also where they do not suffice for the period.',
      default: '32MB',
      minimum: MiB,
    }),
  },
  {
    additionalProperties: false,
    description: 'Reading again what lies on the SSDs, before a reader meets a bad page.',
  },
);

export function scrubOf({ values }: Draft): ScrubPace {
  return {
    periodMs: values.get('scrub.period') as number,
    mostBytesPerSecond: values.get('scrub.bandwidth') as number,
  };
}
