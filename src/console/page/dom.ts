/**
 * Making and changing elements. Text always goes in as text: names of files are whatever somebody called them, and nothing
 * here, or anywhere in the page, turns a string into markup.
 */
import { inOrder } from '../../core/text.ts';

export type Child = Node | string | undefined | false;

export interface Props {
  readonly class?: string;
  /** Called with the event's own type. */
  readonly on?: Readonly<Record<string, (event: Event) => void>>;
  /** Attributes; `true` is one without a value, false and undefined are none. */
  readonly [attribute: string]: unknown;
}

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return filled(document.createElement(tag), props, children);
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', tag), props, children);
}

function filled<E extends Element>(element: E, { on = {}, ...attributes }: Props, children: readonly Child[]): E {
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  for (const [type, listener] of Object.entries(on)) element.addEventListener(type, listener);
  for (const child of children)
    if (child !== undefined && child !== false) element.append(typeof child === 'string' ? inOrder(child) : child);
  return element;
}

/** Touches the document only where something differs. */
export function setAttribute(element: Element, name: string, value: unknown): void {
  if (value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value))
    element.setAttribute(name, value === true ? '' : String(value));
}

/** The same: so that a reader of the screen, and what is selected, are left alone. */
export function setText(node: Node, text: string): void {
  const shown = inOrder(text);
  if (node.textContent !== shown) node.textContent = shown;
}

export function setHidden(element: HTMLElement, hidden: boolean): void {
  if (element.hidden !== hidden) element.hidden = hidden;
}

/** Puts these children there, in this order; those that are there already stay, with focus and all. */
export function setChildren(parent: Element, wanted: readonly Node[]): void {
  const focused = document.activeElement;
  const keep = new Set(wanted);
  for (const child of [...parent.childNodes]) if (!keep.has(child)) child.remove();
  let at: ChildNode | null = parent.firstChild;
  for (const node of wanted) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  // A row that has moved up has lost it on the way.
  if (focused instanceof HTMLElement && focused !== document.activeElement && parent.contains(focused)) focused.focus();
}

/** The one element that a cell is made of, made once. */
export function once<E extends Element>(parent: Element, make: () => E): E {
  const known = parent.firstElementChild;
  if (known !== null) return known as E;
  const made = make();
  parent.append(made);
  return made;
}

let lastId = 0;
export function newId(word: string): string {
  lastId += 1;
  return `${word}-${lastId}`;
}
