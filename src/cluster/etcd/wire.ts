/**
 * etcd's JSON: keys and values in base64, 64-bit numbers as strings, fields of their default value left out.
 * Source of the messages: rpc.proto and kv.proto of etcd 3.4, as its gateway writes them.
 */
import assert from 'node:assert';
import type { Compare, EtcdEntry, Operation, OperationResult, Revision, Transaction, WatchEvent } from './types.ts';

export interface Header {
  readonly cluster_id?: string;
  readonly revision?: string;
}

export interface KeyValueJson {
  readonly key?: string;
  readonly value?: string;
  readonly create_revision?: string;
  readonly mod_revision?: string;
  readonly version?: string;
  readonly lease?: string;
}

export interface RangeJson {
  readonly header?: Header;
  readonly kvs?: readonly KeyValueJson[];
  readonly more?: boolean;
}

export interface DeleteJson {
  readonly header?: Header;
  readonly deleted?: string;
}

export interface TxnJson {
  readonly header?: Header;
  readonly succeeded?: boolean;
  readonly responses?: readonly { readonly response_range?: RangeJson; readonly response_delete_range?: DeleteJson }[];
}

export interface EventJson {
  readonly type?: 'PUT' | 'DELETE';
  readonly kv?: KeyValueJson;
}

export interface WatchJson {
  readonly header?: Header;
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly cancel_reason?: string;
  readonly compact_revision?: string;
  /** The rest of this revision follows. */
  readonly fragment?: boolean;
  readonly events?: readonly EventJson[];
}

export function encode(text: string | Uint8Array): string {
  return Buffer.from(text as string).toString('base64');
}

/** Where a range ends that begins with `prefix`: its successor, the last byte that is not 255 counted up. */
export function endOf(prefix: string): Buffer {
  assert(prefix !== '', 'a prefix of nothing is all of etcd, which belongs to others as well');
  const end = Buffer.from(prefix);
  // UTF-8 has no byte 255, so the last one can be counted up.
  end[end.length - 1]! += 1;
  return end;
}

export function prefixRange(prefix: string): { key: string; range_end: string } {
  return { key: encode(prefix), range_end: encode(endOf(prefix)) };
}

/** Revisions rise by one with each write: 2^53 of them are out of reach. */
export function revisionOf(header: Header | undefined): Revision {
  return numberOf(header?.revision);
}

export function numberOf(text: string | undefined): number {
  const number = Number(text ?? 0);
  assert(Number.isSafeInteger(number), `etcd counts beyond what a number can hold: ${text}`);
  return number;
}

export function entryOf(kv: KeyValueJson): EtcdEntry {
  return {
    key: keyOf(kv),
    value: Buffer.from(kv.value ?? '', 'base64'),
    createRevision: numberOf(kv.create_revision),
    modRevision: numberOf(kv.mod_revision),
    version: numberOf(kv.version),
    lease: kv.lease === undefined || kv.lease === '0' ? undefined : kv.lease,
  };
}

export function eventOf({ type, kv = {} }: EventJson): WatchEvent {
  if (type === 'DELETE') return { type: 'delete', key: keyOf(kv), modRevision: numberOf(kv.mod_revision) };
  return { type: 'put', entry: entryOf(kv) };
}

export function txnBody({ compare, success = [], failure = [] }: Transaction): object {
  return {
    compare: compare.map(compareBody),
    success: success.map(operationBody),
    failure: failure.map(operationBody),
  };
}

export function resultsOf({ responses = [] }: TxnJson): OperationResult[] {
  return responses.map(({ response_range: range, response_delete_range: deleted }) => ({
    entries: (range?.kvs ?? []).map(entryOf),
    deleted: numberOf(deleted?.deleted),
  }));
}

function compareBody(compare: Compare): object {
  const key = encode(compare.key);
  if ('exists' in compare)
    return { key, target: 'VERSION', result: compare.exists ? 'GREATER' : 'EQUAL', version: '0' };
  if ('modRevision' in compare)
    return { key, target: 'MOD', result: 'EQUAL', mod_revision: String(compare.modRevision) };
  if ('createRevision' in compare)
    return { key, target: 'CREATE', result: 'EQUAL', create_revision: String(compare.createRevision) };
  if ('lease' in compare) return { key, target: 'LEASE', result: 'EQUAL', lease: compare.lease };
  return { key, target: 'VALUE', result: 'EQUAL', value: encode(compare.value) };
}

function operationBody(operation: Operation): object {
  if ('put' in operation) return { request_put: putBody(operation.put, operation.value, operation.lease) };
  if ('delete' in operation) return { request_delete_range: { key: encode(operation.delete) } };
  if ('deletePrefix' in operation) return { request_delete_range: prefixRange(operation.deletePrefix) };
  if ('get' in operation) return { request_range: { key: encode(operation.get) } };
  const { range, limit } = operation;
  return { request_range: { ...prefixRange(range), ...(limit === undefined ? {} : { limit: String(limit) }) } };
}

export function putBody(key: string, value: string | Uint8Array, lease: string | undefined): object {
  return { key: encode(key), value: encode(value), ...(lease === undefined ? {} : { lease }) };
}

function keyOf({ key = '' }: KeyValueJson): string {
  return Buffer.from(key, 'base64').toString('utf8');
}
