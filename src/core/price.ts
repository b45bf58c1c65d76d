/** What requests to origins cost, by the table of the configuration. Pure. */

import { covers } from './path-scope.ts';

/** Requests to an origin, by what they ask. */
export const requestKinds = ['list', 'head', 'rangedGet', 'wholeGet'] as const;
export type RequestKind = (typeof requestKinds)[number];
export type RequestCounts = Record<RequestKind, number>;

export interface PriceRow {
  /** Of it and all paths below it, unless a longer one has them. Empty: of all others. */
  readonly prefix: string;
  /** For each 1,000 requests. */
  readonly list: number;
  readonly head: number;
  readonly get: number;
  /** For each 10^9 bytes read. */
  readonly transfer: number;
}

export interface PriceTable {
  /** A word; nothing is converted. */
  readonly currency: string;
  readonly rows: readonly PriceRow[];
}

export interface Price {
  readonly currency: string;
  readonly list: number;
  readonly head: number;
  readonly get: number;
  readonly transfer: number;
  readonly total: number;
}

const bytesPerTransferUnit = 1e9;
const requestsPerUnit = 1000;

interface Spent extends RequestCounts {
  bytes: number;
}

/** Requests and bytes by the row of the table that prices them. */
export class RequestTally {
  readonly #rows: readonly PriceRow[];
  readonly #spent: Spent[];
  /** Of what no row prices. */
  readonly #unpriced: Spent = nothing();

  constructor(table: PriceTable | undefined) {
    // The first that fits is the longest.
    this.#rows = [...(table?.rows ?? [])].sort((a, b) => b.prefix.length - a.prefix.length);
    this.#spent = this.#rows.map(nothing);
  }

  add(path: string, kind: RequestKind, count: number, bytes = 0): void {
    const spent = this.#of(path);
    spent[kind] += count;
    spent.bytes += bytes;
  }

  get counts(): RequestCounts {
    const sum = nothing();
    for (const spent of [...this.#spent, this.#unpriced]) for (const kind of requestKinds) sum[kind] += spent[kind];
    const { bytes: _, ...counts } = sum;
    return counts;
  }

  get bytes(): number {
    return [...this.#spent, this.#unpriced].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Requests for which no row says a price. */
  get unpriced(): number {
    return requestKinds.reduce((sum, kind) => sum + this.#unpriced[kind], 0);
  }

  price(currency: string): Price {
    const price = { list: 0, head: 0, get: 0, transfer: 0 };
    for (const [at, row] of this.#rows.entries()) {
      const spent = this.#spent[at]!;
      price.list += (spent.list * row.list) / requestsPerUnit;
      price.head += (spent.head * row.head) / requestsPerUnit;
      price.get += ((spent.rangedGet + spent.wholeGet) * row.get) / requestsPerUnit;
      price.transfer += (spent.bytes * row.transfer) / bytesPerTransferUnit;
    }
    const { list, head, get, transfer } = price;
    return { currency, ...price, total: list + head + get + transfer };
  }

  #of(path: string): Spent {
    const at = this.#rows.findIndex(({ prefix }) => isBelow(prefix, path));
    return at < 0 ? this.#unpriced : this.#spent[at]!;
  }
}

/** A prefix ends where a name ends: what `s3://a` says is not for `s3://ab`. */
function isBelow(prefix: string, path: string): boolean {
  return prefix === '' || covers(prefix.replace(/(?<=[^/])\/$/, ''), path);
}

function nothing(): Spent {
  return { list: 0, head: 0, rangedGet: 0, wholeGet: 0, bytes: 0 };
}
