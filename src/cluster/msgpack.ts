/**
 * msgpack as the coordinator keeps and sends it: arrays, and objects with their keys. One codec for all: each one's functions are
 * made fast anew by the engine while it runs, and those of msgpackr are large.
 */
import { Packr } from 'msgpackr';

export const msgpack = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });
