import type { Log } from '../../src/core/types.ts';

export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };
