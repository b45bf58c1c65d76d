/** The client verbs, run as a user runs them: exit code and both outputs. */
import { spawn } from 'node:child_process';
import { plainEnvironment } from '../../bench/support/process.ts';
import { executable } from './daemon.ts';

export interface Said {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `primed <args>` against a coordinator. Limit: 60 s, after which it is killed (code null). */
export function primed(coordinator: string, args: readonly string[], limitMs = 60_000): Promise<Said> {
  return run(process.execPath, [executable, ...args], { PRIMED_COORDINATOR: coordinator }, limitMs);
}

/** Any program, with nothing of the caller's environment but the path. Standard output as text, or bytes by `runBytes`. */
export async function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  limitMs = 60_000,
): Promise<Said> {
  const { code, stdout, stderr } = await runBytes(program, args, env, limitMs);
  return { code, stdout: stdout.toString(), stderr };
}

export function runBytes(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  limitMs = 60_000,
): Promise<{ code: number | null; stdout: Buffer; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: plainEnvironment(env),
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: limitMs,
      killSignal: 'SIGKILL',
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk) => out.push(chunk));
    child.stderr.on('data', (chunk) => err.push(chunk));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() }));
  });
}
