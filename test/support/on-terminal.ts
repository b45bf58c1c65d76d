/** Programs on a terminal of their own. */
import { join } from 'node:path';
import { run } from './cli.ts';
import { projectRoot } from './files.ts';

export type TerminalStep =
  /** Written since the last step. */
  | { readonly until: string }
  | { readonly resize: readonly [columns: number, rows: number] }
  | { readonly send: string }
  | { readonly signal: number };

export interface OnTerminal {
  readonly output: string;
  readonly code: number;
  /** The step that did not come about. */
  readonly missed: TerminalStep | null;
  /** Echo, lines and signals of the terminal are as they were. */
  readonly modesRestored: boolean;
}

/** Resolves when the program has ended, or 60 s later, when it is killed. */
export async function onTerminal(
  program: readonly string[],
  {
    columns,
    rows,
    steps,
    env,
  }: { columns: number; rows: number; steps: readonly TerminalStep[]; env: Record<string, string> },
): Promise<OnTerminal> {
  const script = join(projectRoot, 'test/support/on-terminal.py');
  const args = [script, '60', `${columns}`, `${rows}`, JSON.stringify(steps), ...program];
  const said = await run('python3', args, env, 90_000);
  if (said.code !== 0) throw new Error(`the terminal ended with ${said.code}: ${said.stderr}`);
  return JSON.parse(said.stdout) as OnTerminal;
}
