/** Figures as the console writes them: three digits that count, a space, and the unit. Never NaN. */
import { formatDuration, formatTimeLeft } from '../core/sizes.ts';

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'] as const;
const counts = new Intl.NumberFormat('en');
const times = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

/** `0 B`, `980 B`, `1.42 GiB`, `12.0 TiB`, `1,010 MiB`. */
export function sizeText(bytes: number | undefined): string {
  if (bytes === undefined || !Number.isFinite(bytes)) return '–';
  let value = Math.max(0, bytes);
  let unit = 0;
  while (value >= 1023.5 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  if (unit === 0 || value >= 99.95) return `${counts.format(Math.round(value))} ${units[unit]}`;
  return `${value.toFixed(value >= 9.995 ? 1 : 2)} ${units[unit]}`;
}

export function rateText(bytesPerSecond: number | undefined): string {
  return bytesPerSecond === undefined || !Number.isFinite(bytesPerSecond) ? '–' : `${sizeText(bytesPerSecond)}/s`;
}

export function countText(count: number | undefined): string {
  return count === undefined || !Number.isFinite(count) ? '–' : counts.format(Math.round(count));
}

/** Rounded down, because 100 % is what is whole. */
export function percentText(share: number | undefined): string {
  return share === undefined || !Number.isFinite(share) ? '–' : `${Math.floor(share * 100)} %`;
}

export function leftText(ms: number | undefined): string {
  return ms === undefined || !Number.isFinite(ms) ? '–' : formatTimeLeft(ms);
}

export function spanText(ms: number | undefined): string {
  return ms === undefined || !Number.isFinite(ms) || ms < 0
    ? '–'
    : formatDuration(ms < 1000 ? ms : Math.floor(ms / 1000) * 1000);
}

/** `0.8 ms`, `42 ms`, `1.20 s`. */
export function millisecondsText(ms: number | undefined): string {
  if (ms === undefined || !Number.isFinite(ms)) return '–';
  if (ms >= 999.5) return `${(ms / 1000).toFixed(2)} s`;
  return ms < 9.95 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** `just now`, `3m 12s ago`. */
export function agoText(atMs: number | undefined, nowMs: number): string {
  if (atMs === undefined) return '–';
  return nowMs - atMs < 5_000 ? 'just now' : `${spanText(nowMs - atMs)} ago`;
}

/** In the time zone and the manner of who looks. */
export function timeText(atMs: number | undefined): string {
  return atMs === undefined || !Number.isFinite(atMs) ? '–' : times.format(atMs);
}

/** The next of 1, 2, 5, 10, … that is not below, in steps of a unit of bytes: where a curve ends at the top. */
export function niceTop(bytes: number): number {
  let unit = 1;
  while (bytes / unit >= 1000) unit *= 1024;
  const value = Math.max(1, bytes / unit);
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((one) => one * power >= value) ?? 10;
  return step * power * unit;
}
