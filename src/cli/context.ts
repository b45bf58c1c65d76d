/** What all verbs share: the world, the exit code, and the way to the coordinator. */
import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError } from 'commander';
import { PrimedClient } from '../client/client.ts';
import { PrimedError } from '../core/errors.ts';
import { type CertificateFlags, certificateOf } from './client-certificate.ts';
import type { CliIo } from './io.ts';

export const defaultCoordinator = 'http://127.0.0.1:19999';

export interface CliContext {
  readonly io: CliIo;
  /** What the process will exit with; set by the verb that ran. */
  exitCode: number;
  /** JSON is wanted: what went wrong is said in it too. */
  readonly jsonErrors?: boolean;
}

/** Adds the verbs of one file to the program (or to a group of verbs). */
export type RegisterVerb = (parent: Command, context: CliContext) => void;

/** Gives `command` an action whose result is the exit code. A rejection becomes a message and its exit code in runCli. */
export function runs<A extends unknown[]>(
  command: Command,
  context: CliContext,
  action: (...args: A) => Promise<number>,
): void {
  command.action(async (...args: unknown[]) => {
    context.exitCode = await action(...(args as A));
  });
}

export interface ClientOptions extends CertificateFlags {
  readonly coordinator?: string;
}

/** A whole number of at least 1. */
export function positiveInteger(written: string): number {
  if (!/^\d{1,15}$/.test(written) || Number(written) < 1)
    throw new InvalidArgumentError('It must be a whole number of at least 1.');
  return Number(written);
}

/**
 * Calls `use` with a client that is closed whatever happens. The token is that of PRIMED_API_TOKEN, or in the file
 * PRIMED_API_TOKEN_FILE, and certificates to trust are those of the file PRIMED_TLS_CA_FILE. A certificate that is shown is
 * that of `--cert`, which counts more than a token of the environment, or that of PRIMED_CERT_FILE, which does not.
 */
export async function withClient<T>(
  { io }: CliContext,
  options: ClientOptions,
  use: (client: PrimedClient) => Promise<T>,
): Promise<T> {
  const {
    PRIMED_COORDINATOR: coordinator,
    PRIMED_API_TOKEN,
    PRIMED_API_TOKEN_FILE,
    PRIMED_TLS_CA_FILE: caFile,
  } = io.env;
  const asked = options.coordinator ?? (coordinator || defaultCoordinator);
  const shown = certificateOf(options, io.env, asked);
  const token =
    options.cert === undefined &&
    (PRIMED_API_TOKEN || (PRIMED_API_TOKEN_FILE && textIn('PRIMED_API_TOKEN_FILE', PRIMED_API_TOKEN_FILE).trim()));
  const client = new PrimedClient({
    coordinator: asked,
    ...(token ? { token } : {}),
    tls: { ...shown, ...(caFile ? { ca: textIn('PRIMED_TLS_CA_FILE', caFile) } : {}) },
  });
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

function textIn(variable: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const message = `${variable}: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new PrimedError('REQUEST_INVALID', message, { file }, { cause });
  }
}
