/** Fields of requests of the job API: where they stand, and what is said of those that are wrong. */
import type { FastifyRequest } from 'fastify';
import { PrimedError } from '../core/errors.ts';

/** A missing body is one without fields: what is missing is then said by name. */
export async function bodyFields(request: FastifyRequest): Promise<void> {
  request.body ??= {};
}

/** Many HTTP clients cannot send a body with GET: the fields come from the query as well. */
export async function bodyOrQueryFields(request: FastifyRequest): Promise<void> {
  const query = request.query as Record<string, unknown>;
  const body = request.body ?? {};
  if (typeof body !== 'object' || Array.isArray(body)) return;
  for (const name of Object.keys(query)) {
    if (name in body) throw invalidField(name, 'is given twice, in the body and in the query');
  }
  request.body = { ...query, ...body };
}

/** The one of these fields that is given. Throws REQUEST_INVALID for none and for several. */
export function onlyOne<T extends string>(body: Readonly<Partial<Record<T, unknown>>>, names: readonly T[]): T {
  const [name, another] = names.filter((one) => body[one] !== undefined);
  const choice = names.slice(0, 2).join(' or ');
  if (name === undefined) throw invalidField(names[0]!, `is missing: give either ${choice}`);
  if (another !== undefined) throw invalidField(another, `is given together with ${name}: give one of them`);
  return name;
}

export function wordOf<T extends string>(field: string, value: string | undefined, words: readonly T[]): T | undefined {
  if (value === undefined) return undefined;
  const word = words.find((known) => known === value.trim().toUpperCase());
  if (word === undefined) throw invalidField(field, `must be one of ${words.join(', ')}, not '${value.slice(0, 60)}'`);
  return word;
}

/** What a field says that nobody has looked at yet, for a message; of what is neither text nor a number nothing: it may have no text. */
export function plainText(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

export function invalidField(field: string, why: string): PrimedError {
  return new PrimedError('REQUEST_INVALID', `${field}: ${why}.`, { field });
}
