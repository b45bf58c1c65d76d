/** What the embedded origin remembers about requests: a bounded log, and counters. */
import type { Operation } from './faults.ts';

export interface RequestRecord {
  /** In order of arrival, from 0. */
  readonly sequence: number;
  /** As the answer stated it (x-amz-request-id). */
  readonly requestId: string;
  readonly operation: Operation;
  readonly method: string;
  readonly bucket: string;
  readonly key: string;
  /** The Range header as sent. */
  readonly range?: string;
  readonly ifMatch?: string;
  readonly userAgent?: string;
  /** The address that asked. */
  readonly client: string;
  readonly status: number;
  /** Body bytes given to the socket. A connection that breaks may have lost the last of them on the way. */
  readonly bytesSent: number;
  /** Arrival, milliseconds since the epoch. */
  readonly at: number;
  readonly durationMs: number;
  /** The answer went out whole. */
  readonly complete: boolean;
  /** Kind of the fault that fired. */
  readonly fault?: string;
}

export interface OriginStats {
  readonly requests: number;
  readonly bytesSent: number;
  readonly byStatus: Readonly<Record<string, number>>;
  readonly byOperation: Readonly<Record<string, number>>;
  /** Body bytes of GetObject by key. */
  readonly bytesByKey: Readonly<Record<string, number>>;
  /** Body bytes of GetObject by the address that asked, with those of answers under way. */
  readonly bytesByClient: Readonly<Record<string, number>>;
  readonly connectionsOpened: number;
  /** Requests being answered at this moment, and the most there ever were at once. */
  readonly inFlight: number;
  readonly peakInFlight: number;
}

export class Recorder {
  readonly #limit: number;
  #log: RequestRecord[] = [];
  #oldest = 0;
  #byStatus = new Map<string, number>();
  #byOperation = new Map<string, number>();
  #bytesByKey = new Map<string, number>();
  #bytesByClient = new Map<string, number>();
  readonly #sending = new Map<number, { readonly client: string; readonly sent: { readonly bytes: number } }>();
  #requests = 0;
  #bytesSent = 0;
  #nextSequence = 0;
  #inFlight = 0;
  #peakInFlight = 0;
  connectionsOpened = 0;

  /** Keeps the last `limit` requests in full; counters know all. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  arrived(): number {
    this.#inFlight += 1;
    this.#peakInFlight = Math.max(this.#peakInFlight, this.#inFlight);
    this.#nextSequence += 1;
    return this.#nextSequence - 1;
  }

  /** The answer to a GetObject is on its way: `sent` says how far it is. */
  sending(sequence: number, client: string, sent: { readonly bytes: number }): void {
    this.#sending.set(sequence, { client, sent });
  }

  answered(record: RequestRecord): void {
    this.#inFlight -= 1;
    this.#sending.delete(record.sequence);
    this.#requests += 1;
    this.#bytesSent += record.bytesSent;
    add(this.#byStatus, String(record.status), 1);
    add(this.#byOperation, record.operation, 1);
    if (record.operation === 'GetObject') {
      add(this.#bytesByKey, record.key, record.bytesSent);
      add(this.#bytesByClient, record.client, record.bytesSent);
    }
    if (this.#limit === 0) return;
    if (this.#log.length < this.#limit) {
      this.#log.push(record);
      return;
    }
    this.#log[this.#oldest] = record;
    this.#oldest = (this.#oldest + 1) % this.#limit;
  }

  /** In order of their ends, oldest first. */
  log(): RequestRecord[] {
    return [...this.#log.slice(this.#oldest), ...this.#log.slice(0, this.#oldest)];
  }

  stats(): OriginStats {
    return {
      requests: this.#requests,
      bytesSent: this.#bytesSent,
      byStatus: Object.fromEntries(this.#byStatus),
      byOperation: Object.fromEntries(this.#byOperation),
      bytesByKey: Object.fromEntries(this.#bytesByKey),
      bytesByClient: Object.fromEntries(this.#bytesByClientNow()),
      connectionsOpened: this.connectionsOpened,
      inFlight: this.#inFlight,
      peakInFlight: this.#peakInFlight,
    };
  }

  #bytesByClientNow(): Map<string, number> {
    const now = new Map(this.#bytesByClient);
    for (const { client, sent } of this.#sending.values()) add(now, client, sent.bytes);
    return now;
  }

  /** Forgets the log and sets counters to zero; requests in flight are counted when they end. */
  reset(): void {
    this.#log = [];
    this.#oldest = 0;
    this.#byStatus = new Map();
    this.#byOperation = new Map();
    this.#bytesByKey = new Map();
    this.#bytesByClient = new Map();
    this.#requests = 0;
    this.#bytesSent = 0;
    this.#peakInFlight = this.#inFlight;
    this.connectionsOpened = 0;
  }
}

function add(counters: Map<string, number>, name: string, amount: number): void {
  counters.set(name, (counters.get(name) ?? 0) + amount);
}
