/** What the demo shows: a live bar on a terminal, a plain line every two seconds elsewhere. */
import { SingleBar } from 'cli-progress';

export interface Bar {
  /** `done` of the bar's total, and what is to be said beside it. */
  update(done: number, detail: string): void;
  /** Takes the bar away, or ends its line, and leaves one line with the result. */
  end(result: string): void;
}

export interface Show {
  say(line: string): void;
  bar(label: string, total: number): Bar;
  /** Takes away a bar that was not ended, so that the terminal has its cursor back. */
  leave(): void;
}

const plainLineEveryMs = 2000;
const redrawsPerSecond = 10;

export function makeShow(stream: NodeJS.WriteStream): Show {
  const say = (line: string) => {
    stream.write(`${line}\n`);
  };
  let live: SingleBar | undefined;
  const bar = (label: string, total: number) => {
    if (!stream.isTTY) return plainBar(say, label, total);
    live = makeLiveBar(stream, label);
    return liveBar(live, say, label, total);
  };
  return { say, bar, leave: () => live?.stop() };
}

function makeLiveBar(stream: NodeJS.WriteStream, label: string): SingleBar {
  return new SingleBar({
    stream,
    format: `  ${label} [{bar}] {percentage}%  {detail}`,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 30,
    fps: redrawsPerSecond,
    hideCursor: true,
    clearOnComplete: true,
    gracefulExit: false,
  });
}

function liveBar(bar: SingleBar, say: (line: string) => void, label: string, total: number): Bar {
  bar.start(Math.max(1, total), 0, { detail: '' });
  return {
    update: (done, detail) => bar.update(Math.min(done, total), { detail }),
    end: (result) => {
      bar.stop();
      say(`  ${label}: ${result}`);
    },
  };
}

function plainBar(say: (line: string) => void, label: string, total: number): Bar {
  let lastMs = Number.NEGATIVE_INFINITY;
  return {
    update: (done, detail) => {
      const nowMs = performance.now();
      if (nowMs - lastMs < plainLineEveryMs) return;
      lastMs = nowMs;
      say(`  ${label}: ${Math.floor((100 * Math.min(done, total)) / Math.max(1, total))}%  ${detail}`);
    },
    end: (result) => say(`  ${label}: ${result}`),
  };
}
