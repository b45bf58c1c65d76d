/** Sizes and durations as people read and write them. The formats are those of Alluxio's FormatUtils. */
import { PrimedError } from './errors.ts';

const wholeBytesUpTo = 5 * 1024;
const largerUnits = ['KB', 'MB', 'GB', 'TB', 'PB', 'EB'] as const;
const unitPowers: Readonly<Record<string, number>> = { '': 0, b: 0, k: 1, m: 2, g: 3, t: 4, p: 5 };

/**
 * Bytes for people: whole bytes up to and including 5120 (`5120B`), above that divided by 1024 through KB, MB, GB, TB,
 * PB, EB while the value is above 5120, two decimals (`5.00KB`). What is not a finite positive number is `0B`.
 */
export function formatSize(bytes: number): string {
  if (!Number.isFinite(bytes) || bytes <= 0) return '0B';
  if (bytes <= wholeBytesUpTo) return `${Math.round(bytes)}B`;
  let value = bytes / 1024;
  let unit = 0;
  while (value > wholeBytesUpTo && unit < largerUnits.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(2)}${largerUnits[unit]}`;
}

/**
 * Bytes from a number with an optional unit `b|k|kb|ki|kib|m…|g…|t…|p…`, case-insensitive, 1024-based, decimals
 * allowed; parts of a byte are dropped. Throws REQUEST_INVALID.
 */
export function parseSize(text: string): number {
  const match = /^\s*(\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})\s*(?:([kmgtp])(?:i?b?)|b)?\s*$/i.exec(text);
  if (match === null) {
    throw new PrimedError(
      'REQUEST_INVALID',
      `'${clip(text)}' is not a size: write a number and a unit, such as 200MB, 1.5g or 4096.`,
    );
  }
  const bytes = Math.floor(Number(match[1]) * 1024 ** unitPowers[(match[2] ?? '').toLowerCase()]!);
  if (!Number.isSafeInteger(bytes)) {
    throw new PrimedError(
      'REQUEST_INVALID',
      `The size '${clip(text)}' is too large: at most ${Number.MAX_SAFE_INTEGER} bytes.`,
    );
  }
  return bytes;
}

const durationUnitsMs: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
};

/**
 * Milliseconds from numbers with units `ms|s|m|min|h|d|w`, one after the other (`7d`, `1h 30m`, `1.5s`); a plain number
 * is milliseconds. Throws REQUEST_INVALID.
 */
export function parseDuration(text: string): number {
  const bad = () =>
    new PrimedError(
      'REQUEST_INVALID',
      `'${clip(text)}' is not a duration: write numbers and units, such as 500ms, 30s, 1h 30m or 7d.`,
    );
  const trimmed = text.trim().toLowerCase();
  if (/^\d{1,15}$/.test(trimmed)) return Number(trimmed);
  if (trimmed.length > 100 || !/^(?:\d{1,15}(?:\.\d{1,9})?\s{0,4}(?:ms|min|[smhdw])\s{0,4})+$/.test(trimmed))
    throw bad();
  let sumMs = 0;
  for (const [, amount, unit] of trimmed.matchAll(/(\d+(?:\.\d+)?)\s*(ms|min|[smhdw])/g)) {
    sumMs += Number(amount) * durationUnitsMs[unit!]!;
  }
  if (!Number.isSafeInteger(Math.floor(sumMs))) throw bad();
  return Math.floor(sumMs);
}

/** A duration for people, its two largest units: `0s`, `850ms`, `42s`, `1m 20s`, `3h 5m`, `2d 4h`. Never NaN. */
export function formatDuration(durationMs: number): string {
  if (!Number.isFinite(durationMs) || durationMs <= 0) return '0s';
  if (durationMs < 1000) return `${Math.max(1, Math.floor(durationMs))}ms`;
  const seconds = Math.round(durationMs / 1000);
  const days = Math.floor(seconds / 86_400);
  const hours = Math.floor(seconds / 3600) % 24;
  const minutes = Math.floor(seconds / 60) % 60;
  if (days > 0) return `${days}d ${hours}h`;
  if (hours > 0) return `${hours}h ${minutes}m`;
  if (minutes > 0) return `${minutes}m ${seconds % 60}s`;
  return `${seconds}s`;
}

/** Time that is left, in whole seconds and rounded up: an estimate knows no milliseconds. */
export function formatTimeLeft(durationMs: number): string {
  return formatDuration(Math.ceil(durationMs / 1000) * 1000);
}

function clip(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
