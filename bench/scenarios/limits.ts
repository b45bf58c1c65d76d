/** Whether loads know what limits them: one resource after the other is made slow, and the load is asked. */
import { seededRandom } from '../../src/core/random.ts';
import { limitCases, openLimitStage, runLimitCase, variation } from '../support/limit-cases.ts';
import { figure, type Row, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

const leastShare = 0.95;
/** Variations of each case for each run that is asked for. */
const casesEach = 2;

export const limits: Scenario = {
  summary: 'whether a load names the one resource that was made slow',
  async run({ workspace, runs, quick, log }) {
    const stage = await openLimitStage(workspace);
    const cases = limitCases;
    const each = quick ? 1 : runs * casesEach;
    const right = new Map(cases.map(({ name }) => [name, [] as number[]]));
    const shares = new Map(cases.map(({ name }) => [name, [] as number[]]));
    const wrong: string[] = [];
    for (let round = 1; round <= each; round += 1) {
      log(`round ${round} of ${each}`);
      for (const [at, one] of cases.entries()) {
        const random = seededRandom(round * cases.length + at);
        const name = `${one.name.replaceAll(/[^A-Za-z0-9]/g, '-')}-${round}`;
        const { limits: said, slowed } = await runLimitCase(stage, one, { name, ...variation(random) });
        if (slowed === 0) throw new Error(`nothing was slow in ${one.name}`);
        const isRight = said?.[0]?.cause === one.cause;
        right.get(one.name)!.push(Number(isRight));
        shares.get(one.name)!.push(said?.find(({ cause }) => cause === one.cause)?.share ?? 0);
        if (!isRight) wrong.push(`${one.name}: ${JSON.stringify(said)}`);
      }
    }
    for (const one of wrong) log(`wrong: ${one}`);
    const all = [...right.values()].flat();
    const named = all.reduce((sum, one) => sum + one, 0) / all.length;
    return {
      title: 'What limits a load',
      about:
        'Two workers and an origin on loopback; one resource at a time is slow, by faults of the origin, a slow way between workers, delayed system calls or checksums, or a limit; amounts and delays vary between half and twice as much. Named right: the largest share of what the load says at its end is the resource that was slow; beside it that share.',
      parameters: { cases: cases.length, rounds: each, workers: 2 },
      rows: cases.map(({ name }): Row => {
        const [answers, parts] = [right.get(name)!, shares.get(name)!];
        const sum = answers.reduce((total, one) => total + one, 0);
        return {
          name,
          figures: { 'named right': figure('', [sum / answers.length]), 'its share': figure('', parts) },
        };
      }),
      verdicts: [verdict('Loads name what limits them', named, '', 'at least', leastShare)],
      notes: [],
    };
  },
};
