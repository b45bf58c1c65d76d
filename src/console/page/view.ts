/** What a view is to the page. */
import type { ConsoleState } from '../state.ts';

export interface View {
  readonly name: string;
  readonly el: HTMLElement;
  /** Focus goes there when the view is opened. */
  readonly title: HTMLElement;
  /** At most once a second, and when it is opened. */
  update(nowMs: number): void;
  close?(): void;
}

export type MakeView = (state: ConsoleState, rest: string) => View;
