/**
 * Tables of many rows: sorted, filtered by who uses it, and paged, so that 1,000 rows cost what 50 do. Rows are kept by their
 * ids, and a cell is touched only where it differs: focus, what is selected, and what a screen reader is at stay.
 */
import { countText } from '../format.ts';
import { h, setAttribute, setChildren, setHidden, setText } from './dom.ts';

export interface Column<R> {
  readonly title: string;
  /** Figures are to the right. */
  readonly num?: boolean;
  /** What it is sorted by; absent: not at all. Where values are equal the order of the rows stays. */
  readonly by?: (row: R) => number | string;
  /** Fills the cell, or changes what it has. */
  readonly fill: (cell: HTMLElement, row: R) => void;
  /** The one that names the row. */
  readonly names?: boolean;
  /** Says nothing without its title, where rows are blocks. */
  readonly titled?: boolean;
  readonly class?: string;
}

const pageRows = 50;

interface Sort {
  readonly column: number;
  readonly down: boolean;
}

export class Table<R extends { readonly id: string }> {
  readonly el: HTMLElement;
  readonly #columns: readonly Column<R>[];
  /** Of the columns by which it can be sorted. */
  readonly #heads = new Map<number, HTMLElement>();
  readonly #body = h('tbody', { role: 'rowgroup' });
  readonly #made = new Map<string, { element: HTMLElement; cells: HTMLElement[] }>();
  readonly #empty: HTMLElement;
  readonly #table: HTMLElement;
  readonly #pager: HTMLElement;
  readonly #where = h('span');
  readonly #back: HTMLButtonElement;
  readonly #on: HTMLButtonElement;
  #rows: readonly R[] = [];
  #sort: Sort | undefined;
  #page = 0;

  constructor({ label, columns, empty }: { label: string; columns: readonly Column<R>[]; empty: string }) {
    this.#columns = columns;
    const heads = columns.map(({ title, num, by, class: more = '' }, index) => {
      const name = `${num ? 'num' : ''} ${more}`.trim();
      if (by === undefined) return h('th', { scope: 'col', role: 'columnheader', class: name }, title);
      const button = h('button', { type: 'button', on: { click: () => this.#sortBy(index) } }, title);
      const cell = h('th', { scope: 'col', role: 'columnheader', class: name }, button);
      this.#heads.set(index, cell);
      return cell;
    });
    this.#table = h(
      'table',
      { role: 'table', 'aria-label': label },
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, ...heads)),
      this.#body,
    );
    this.#empty = h('p', { class: 'empty' }, empty);
    this.#back = h('button', { type: 'button', on: { click: () => this.#turn(-1) } }, 'Previous');
    this.#on = h('button', { type: 'button', on: { click: () => this.#turn(1) } }, 'Next');
    this.#pager = h('nav', { class: 'pager', 'aria-label': `Pages of ${label}` }, this.#back, this.#where, this.#on);
    this.el = h('div', { class: 'tablebox' }, this.#table, this.#empty, this.#pager);
  }

  /** `empty`: what is said in place of no rows. */
  show(rows: readonly R[], empty?: string): void {
    this.#rows = rows;
    if (empty !== undefined) setText(this.#empty, empty);
    this.#draw();
  }

  #draw(): void {
    const pages = Math.max(1, Math.ceil(this.#rows.length / pageRows));
    this.#page = Math.min(this.#page, pages - 1);
    const shown = this.#sorted().slice(this.#page * pageRows, (this.#page + 1) * pageRows);
    const ids = new Set(shown.map(({ id }) => id));
    for (const id of this.#made.keys()) if (!ids.has(id)) this.#made.delete(id);
    setChildren(
      this.#body,
      shown.map((row) => this.#rowOf(row)),
    );
    setHidden(this.#empty, this.#rows.length > 0);
    setHidden(this.#table, this.#rows.length === 0);
    setHidden(this.#pager, pages === 1);
    const first = this.#page * pageRows;
    setText(
      this.#where,
      `${countText(first + 1)}–${countText(first + shown.length)} of ${countText(this.#rows.length)}`,
    );
    setAttribute(this.#back, 'aria-disabled', this.#page === 0 && 'true');
    setAttribute(this.#on, 'aria-disabled', this.#page === pages - 1 && 'true');
  }

  #rowOf(row: R): HTMLElement {
    let made = this.#made.get(row.id);
    if (made === undefined) {
      const cells = this.#columns.map(({ title, num, names, titled, class: more = '' }) =>
        names
          ? h('th', { scope: 'row', role: 'rowheader', class: more })
          : h('td', {
              role: 'cell',
              'data-title': title,
              class: `${num ? 'num' : ''} ${titled ? 'titled' : ''} ${more}`.trim(),
            }),
      );
      made = { element: h('tr', { role: 'row' }, ...cells), cells };
      this.#made.set(row.id, made);
    }
    for (const [index, { fill }] of this.#columns.entries()) fill(made.cells[index]!, row);
    return made.element;
  }

  #sorted(): readonly R[] {
    for (const [index, cell] of this.#heads) {
      const sort = this.#sort?.column === index ? this.#sort : undefined;
      setAttribute(cell, 'aria-sort', sort && (sort.down ? 'descending' : 'ascending'));
    }
    if (this.#sort === undefined) return this.#rows;
    const { column, down } = this.#sort;
    const by = this.#columns[column]!.by!;
    const keyed = this.#rows.map((row) => ({ row, key: by(row) }));
    keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0) * (down ? -1 : 1));
    return keyed.map(({ row }) => row);
  }

  /** Figures begin with the largest; a third time gives the first order again. */
  #sortBy(column: number): void {
    const first = this.#columns[column]!.num === true;
    const now = this.#sort?.column === column ? this.#sort : undefined;
    this.#sort =
      now === undefined ? { column, down: first } : now.down === first ? { column, down: !first } : undefined;
    this.#page = 0;
    this.#draw();
  }

  #turn(by: number): void {
    this.#page = Math.max(0, this.#page + by);
    this.#draw();
    this.#table.scrollIntoView({ block: 'nearest' });
  }
}
