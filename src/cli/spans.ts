/** Lines for a terminal of some width: pieces of printable text with a style each, and tables of them. Pure. */
import { printable } from '../core/text.ts';

export const styles = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
export type Style = keyof typeof styles;

export interface Span {
  readonly text: string;
  readonly style?: Style;
}
export type Line = readonly Span[];

export interface Column<R> {
  readonly title: string;
  readonly cell: (row: R) => Span;
  readonly align?: 'right';
  /** Where there is no room for all, the column with the smallest goes first; without it a column stays. */
  readonly worth?: number;
}

const gapColumns = 2;
/** Of the last column, before others go for it. */
const lastColumnsMin = 24;

/** The only way text comes into a line: what would command the terminal is escaped. */
export function span(text: string, style?: Style): Span {
  return style === undefined ? { text: printable(text) } : { text: printable(text), style };
}

export function widthOf(line: Line): number {
  return line.reduce((sum, { text }) => sum + length(text), 0);
}

/** At most so many columns; `…` is where something is left out. */
export function cutLine(line: Line, columns: number): Line {
  if (widthOf(line) <= columns) return line;
  const cut: Span[] = [];
  let room = columns - 1;
  for (const piece of line) {
    const characters = [...piece.text];
    if (characters.length > room) {
      if (room >= 0) cut.push({ ...piece, text: `${characters.slice(0, room).join('')}…` });
      break;
    }
    cut.push(piece);
    room -= characters.length;
  }
  return cut;
}

/** As bytes for the terminal; without colours nothing but the text, without `unicode` what is drawn in ASCII. */
export function paint(line: Line, colours: boolean, unicode = true): string {
  const piece = ({ text, style }: Span): string => {
    const shown = unicode ? text : inAscii(text);
    return style === undefined || !colours ? shown : `\u001b[${styles[style]}m${shown}\u001b[0m`;
  };
  return line.map(piece).join('');
}

/** What this program draws itself, character by character, so that nothing moves. */
export function inAscii(text: string): string {
  return text.replace(/[█░▁▂▃▄▅▆▇…]/g, (drawn) => ascii[drawn]!);
}

const ascii: Readonly<Record<string, string>> = {
  ...{ '█': '#', '░': '.', '…': '~' },
  ...{ '▁': '_', '▂': '.', '▃': ':', '▄': '-', '▅': '=', '▆': '+', '▇': '*' },
};

/** A line of titles, then one of each row. A column of which no row has anything is left out, except the last. */
export function layTable<R>(columns: readonly Column<R>[], rows: readonly R[], width: number): Line[] {
  const filled = columns.flatMap((column, at) => {
    const cells = rows.map(column.cell);
    const some = at === columns.length - 1 || cells.some(({ text }) => text !== '');
    return some
      ? [{ column, cells, columns: Math.max(...[span(column.title), ...cells].map(({ text }) => length(text))) }]
      : [];
  });
  const last = filled.at(-1)!;
  const lastMin = Math.min(last.columns, lastColumnsMin);
  const needed = (): number => filled.slice(0, -1).reduce((sum, one) => sum + one.columns + gapColumns, lastMin);
  while (needed() > width) {
    const least = filled
      .filter(({ column }) => column.worth !== undefined)
      .sort((a, b) => a.column.worth! - b.column.worth!)[0];
    if (least === undefined) break;
    filled.splice(filled.indexOf(least), 1);
  }
  const lineOf = (cells: readonly Span[]): Line =>
    cutLine(
      filled.flatMap(({ column, columns: wide }, at) => {
        const cell = cells[at]!;
        if (at === filled.length - 1) return [cell];
        const blank = { text: ' '.repeat(wide - length(cell.text)) };
        const gap = { text: ' '.repeat(gapColumns) };
        return column.align === 'right' ? [blank, cell, gap] : [cell, blank, gap];
      }),
      width,
    );
  const titles = lineOf(filled.map(({ column }) => span(column.title, 'bold')));
  return [titles, ...rows.map((_row, at) => lineOf(filled.map(({ cells }) => cells[at]!)))];
}

function length(text: string): number {
  return [...text].length;
}
