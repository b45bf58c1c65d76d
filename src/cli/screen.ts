/** The whole terminal for a while: its other screen, without a cursor, and keys as they are pressed. */
import type { CliIo, EndSignal } from './io.ts';

export interface Screen {
  readonly columns: number;
  readonly rows: number;
  /** Draws over what was there. A terminal that has not taken the last picture gets the next one. */
  draw(lines: readonly string[]): void;
  /** Gives the terminal back as it was. */
  close(): void;
}

export interface ScreenEvents {
  readonly onKey: (key: string) => void;
  readonly onResize: () => void;
  readonly onInterrupt: () => void;
  readonly onTerminate: (signal: EndSignal) => void;
  /** The terminal is gone. */
  readonly onGone: () => void;
}

/** Of a terminal that does not say. */
const usualColumns = 80;
const usualRows = 24;

/** The other screen, no cursor, and lines that are too wide are cut by the terminal: it alone knows how wide a character is. */
const enter = '\u001b[?1049h\u001b[?25l\u001b[?7l';
const leave = '\u001b[?7h\u001b[?25h\u001b[?1049l';
const home = '\u001b[H';
const clearToEndOfLine = '\u001b[K';
const clearBelow = '\u001b[J';
/** In raw mode it is a key. */
const controlC = '\u0003';

/** Standard output has to be a terminal. Without one as standard input there are no keys, and signals as ever. */
export function openScreen(io: CliIo, events: ScreenEvents): Screen {
  const { stdin, stdout } = io;
  const hasKeys = stdin.isTTY === true;
  const onData = (piece: Buffer | string): void => {
    for (const key of String(piece)) {
      if (key === controlC) events.onInterrupt();
      else events.onKey(key);
    }
  };
  const forget = [
    io.onInterrupt(events.onInterrupt),
    io.onTerminate(events.onTerminate),
    // A defect that nobody catches: its words come after this, and stay. Modes of keys the process gives back itself.
    io.onExit(() => stdout.write(leave)),
  ];
  stdout.on('resize', events.onResize).on('error', events.onGone).on('close', events.onGone);
  if (hasKeys) {
    stdin.setRawMode?.(true);
    stdin.on('data', onData).on('end', events.onGone).on('error', events.onGone);
    stdin.resume();
  }
  stdout.write(enter);
  return {
    get columns() {
      return stdout.columns || usualColumns;
    },
    get rows() {
      return stdout.rows || usualRows;
    },
    draw(lines) {
      if ((stdout as { writableNeedDrain?: boolean }).writableNeedDrain === true) return;
      stdout.write(`${home}${lines.map((line) => `${line}${clearToEndOfLine}`).join('\r\n')}${clearBelow}`);
    },
    close() {
      stdout.write(leave);
      if (hasKeys) {
        stdin.off('data', onData).off('end', events.onGone).off('error', events.onGone);
        stdin.setRawMode?.(false);
        stdin.pause();
      }
      stdout.off('resize', events.onResize).off('error', events.onGone).off('close', events.onGone);
      for (const one of forget) one();
    },
  };
}
