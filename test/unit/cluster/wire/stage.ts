/** A worker's HTTP server with a control link, a way to it that can be cut, and coordinators' links over that. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { vi } from 'vitest';
import { attachControl, type Control } from '../../../../src/cluster/wire/control-server.ts';
import { defaultTiming, type Timing } from '../../../../src/cluster/wire/protocol.ts';
import { RemoteLink, type RemoteLinkOptions } from '../../../../src/cluster/wire/remote-link.ts';
import { PrimedError } from '../../../../src/core/errors.ts';
import type { Segment } from '../../../../src/core/segments.ts';
import type { JobId, LoadId, Log, RunId, UfsPath } from '../../../../src/core/types.ts';
import { MiB } from '../../../../src/core/units.ts';
import type { RunSpec } from '../../../../src/ingest/types.ts';
import { startProxy, type Way } from './proxy.ts';
import { ScriptedLink } from './scripted-link.ts';

export const run = 'run-1' as RunId;
export const spec: RunSpec = {
  run,
  job: 'job-1' as JobId,
  load: 'load-1' as LoadId,
  term: 0,
  reuse: 'any',
  onChange: 'restart',
  segmentBytes: 8 * MiB,
  weight: 10,
};
export const soon: Timing = { ...defaultTiming, firstRetryMs: 2, longestRetryMs: 20, progressMs: 10 };
/** A side that is silent is found out soon. */
export const alert: Timing = { ...soon, pingMs: 30, silenceMs: 300, handshakeMs: 300 };

/** Lines that were logged, as `level message`, with their facts. */
export class Lines implements Log {
  readonly lines: { readonly line: string; readonly facts: Record<string, unknown> }[] = [];

  #add(level: string, facts: object, message: string): void {
    this.lines.push({ line: `${level} ${message}`, facts: facts as Record<string, unknown> });
  }

  debug(facts: object, message: string): void {
    this.#add('debug', facts, message);
  }

  info(facts: object, message: string): void {
    this.#add('info', facts, message);
  }

  warn(facts: object, message: string): void {
    this.#add('warn', facts, message);
  }

  error(facts: object, message: string): void {
    this.#add('error', facts, message);
  }

  having(text: string): { readonly line: string; readonly facts: Record<string, unknown> }[] {
    return this.lines.filter(({ line }) => line.includes(text));
  }
}

export class WireStage {
  readonly worker = new ScriptedLink();
  readonly workerLog = new Lines();
  readonly log = new Lines();
  readonly server: Server = createServer((_request, response) => response.end('plain'));
  readonly links: RemoteLink[] = [];
  epoch: number | undefined = 7;
  leaseMs = 60_000;
  port = 0;
  proxy!: Way;
  control!: Control;

  async open({ token, timing = soon }: { token?: string; timing?: Timing } = {}): Promise<this> {
    this.control = attachControl(this.server, {
      link: this.worker,
      ...(token === undefined ? {} : { clusterToken: token }),
      epoch: () => this.epoch,
      leaseMs: () => this.leaseMs,
      version: '1.2.3',
      log: this.workerLog,
      timing,
    });
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = (this.server.address() as AddressInfo).port;
    this.proxy = await startProxy(this.port);
    return this;
  }

  link(options: Partial<RemoteLinkOptions> = {}): RemoteLink {
    const link = new RemoteLink({
      id: this.worker.id,
      url: `http://127.0.0.1:${this.proxy.port}`,
      epoch: 7,
      coordinator: 'coordinator-1',
      log: this.log,
      timing: soon,
      ...options,
    });
    this.links.push(link);
    return link;
  }

  /** A link to which the run is known. */
  async begun(options: Partial<RemoteLinkOptions> = {}): Promise<RemoteLink> {
    const link = this.link(options);
    await link.startRun(spec);
    return link;
  }

  async close(): Promise<void> {
    for (const link of this.links) link.lost();
    this.control.close();
    await this.proxy.close();
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}

/** The whole of a small file, unless more is said. */
export function segmentAt(number: number, more: Partial<Segment> & { versionId?: string } = {}): Segment {
  const { versionId, ...cut } = more;
  const file = {
    path: `s3://bucket/dir/file-${number}` as UfsPath,
    etag: number.toString(16).padStart(32, '0'),
    sizeBytes: 1000 + number,
    lastModifiedMs: 1_700_000_000_000 + number,
    ...(versionId === undefined ? {} : { versionId }),
  };
  return { file, index: 0, offset: 0, length: file.sizeBytes, ...cut };
}

export const how = { hasty: false };

export function until(what: () => boolean): Promise<unknown> {
  return vi.waitUntil(what, { timeout: 30_000, interval: 2 });
}

/** Code and message of what a promise is rejected with. */
export function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: unknown) => (error instanceof PrimedError ? `${error.code}: ${error.message}` : String(error)),
  );
}
