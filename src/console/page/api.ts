/** The REST API as the page asks it, with the token of who looks. Every rejection is an ApiError with the server's message. */

const tokenKey = 'primed.token';
/** A stop may take 2 s, and a stat of a large directory longer. */
const answerTimeoutMs = 60_000;

export class ApiError extends Error {
  readonly status: number;
  readonly code: string | undefined;

  constructor(message: string, status: number, code?: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Lives as long as the tab, and is sent nowhere but in the header of requests to the server that the page came from. */
export const token = {
  get: (): string | undefined => sessionStorage.getItem(tokenKey) ?? undefined,
  set: (value: string): void => sessionStorage.setItem(tokenKey, value),
  forget: (): void => sessionStorage.removeItem(tokenKey),
};

export interface Asked {
  readonly method?: 'GET' | 'POST' | 'PUT';
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: object;
  readonly signal?: AbortSignal;
  /** How long an answer is waited for. */
  readonly limitMs?: number;
}

export async function ask<T>(asked: Asked): Promise<T> {
  const { method = 'GET', path, query, body, signal, limitMs = answerTimeoutMs } = asked;
  const limit = AbortSignal.timeout(limitMs);
  const answer = await request(`${path}${query === undefined ? '' : `?${new URLSearchParams(query)}`}`, {
    method,
    signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
    ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  return (await answer.json()) as T;
}

/** For an answer that lasts: the caller reads it. */
export function openFeed(signal: AbortSignal): Promise<Response> {
  return request('/api/v1/console/feed', { signal });
}

async function request(path: string, init: RequestInit): Promise<Response> {
  const known = token.get();
  const headers = { ...init.headers, ...(known !== undefined && { authorization: `Bearer ${known}` }) };
  let answer: Response;
  try {
    answer = await fetch(path, { ...init, headers, cache: 'no-store', credentials: 'omit', redirect: 'error' });
  } catch (error) {
    if (init.signal?.aborted === true && (error as Error).name !== 'TimeoutError') throw error;
    throw new ApiError('The coordinator does not answer.', 0);
  }
  if (answer.ok) return answer;
  const { message, code } = (await answer.json().catch(() => ({}))) as { message?: string; code?: string };
  throw new ApiError(message ?? `The coordinator answered ${answer.status}.`, answer.status, code);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
