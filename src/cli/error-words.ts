/** How an error is said: in words, or as one line of JSON where that is wanted. */
import { CommanderError } from 'commander';
import { PrimedError } from '../core/errors.ts';
import { UsageError } from './exit.ts';

/** What was typed may not make sense otherwise. */
export function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  const words = end < 0 ? argv : argv.slice(0, end);
  return words.some((word, at) => /^--format=json$/i.test(word) || (word === '--format' && isJson(words[at + 1])));
}

/** In any case, as the flag is read. */
function isJson(word: string | undefined): boolean {
  return word?.toLowerCase() === 'json';
}

/** One line for programs: the code by which the documents say what to do, the message, and what it is made of. */
export function jsonOfError(error: unknown): string {
  return JSON.stringify({ error: factsOf(error) });
}

function factsOf(error: unknown): object {
  if (error instanceof PrimedError) {
    const { code, message, facts } = error;
    return { code, message, facts };
  }
  if (error instanceof CommanderError) {
    const message = error.code.startsWith('commander.help')
      ? 'A command is missing; --help says which there are.'
      : error.message.replace(/^error: /, '');
    return { code: 'USAGE', message };
  }
  return {
    code: error instanceof UsageError ? 'USAGE' : 'FAILED',
    message: error instanceof Error ? error.message : String(error),
  };
}

/** With the code by which the documents say what to do, except where the message is about what was typed. */
export function wordsOf(error: unknown): string {
  if (error instanceof PrimedError && error.code === 'UNAUTHENTICATED')
    return `${error.code}: ${error.message} Here it is that of PRIMED_API_TOKEN, or of the file PRIMED_API_TOKEN_FILE; a certificate is that of --cert, or of PRIMED_CERT_FILE.`;
  if (error instanceof PrimedError && error.status !== 'INVALID_ARGUMENT') return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
