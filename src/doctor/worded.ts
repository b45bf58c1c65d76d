/** A look at something that may throw: what it throws is a finding too. */
import { PrimedError } from '../core/errors.ts';
import { type Finding, fail } from '../core/finding.ts';

export function worded(check: string, remedy: string, look: () => Finding[]): Finding[] {
  try {
    return look();
  } catch (error) {
    return [failure(check, remedy, error)];
  }
}

/** The same for a look that takes time. */
export async function wordedLater(check: string, remedy: string, look: () => Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await look();
  } catch (error) {
    return [failure(check, remedy, error)];
  }
}

export function failure(check: string, remedy: string, error: unknown): Finding {
  const message = error instanceof Error ? error.message : String(error);
  return fail(check, error instanceof PrimedError ? `${error.code}: ${message}` : message, remedy);
}
