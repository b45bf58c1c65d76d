/**
 * Dialogs that ask before something is done. The browser keeps focus inside, closes on Escape, and gives focus back; what goes
 * wrong is said in the dialog, which stays open.
 */
import { messageOf } from './api.ts';
import { type Child, h, newId, setHidden, setText } from './dom.ts';

export interface DialogOrder {
  readonly title: string;
  readonly body: readonly Child[];
  /** What the button says that does it. */
  readonly action: string;
  readonly danger?: boolean;
  /** Closes the dialog when it resolves; may say that it is not done yet. */
  readonly run: () => Promise<'stay' | void>;
  /** Where focus goes first; default: the button that changes nothing. */
  readonly focus?: HTMLElement;
  readonly onClose?: () => void;
}

export interface Dialog {
  /** Changes what the button says, and whether it can be pressed. */
  act(text: string, enabled: boolean): void;
}

export function openDialog({ title, body, action, danger, run, focus, onClose }: DialogOrder): Dialog {
  const id = newId('dialog');
  const wrong = h('p', { class: 'wrong', role: 'alert', hidden: true });
  const cancel = h('button', { type: 'button', on: { click: () => dialog.close() } }, 'Cancel');
  const act = h('button', { type: 'submit', class: danger ? 'danger' : 'main' }, action);
  let busy = false;
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (busy || act.disabled) return;
    busy = true;
    act.setAttribute('aria-busy', 'true');
    setHidden(wrong, true);
    try {
      if ((await run()) !== 'stay') dialog.close();
    } catch (error) {
      setText(wrong, messageOf(error));
      setHidden(wrong, false);
    } finally {
      busy = false;
      act.removeAttribute('aria-busy');
    }
  };
  const form = h(
    'form',
    { on: { submit: (event) => void submit(event) } },
    ...body,
    wrong,
    h('div', { class: 'acts' }, cancel, act),
  );
  const dialog = h('dialog', { 'aria-labelledby': id }, h('h2', { id }, title), form);
  const opener = document.activeElement;
  dialog.addEventListener('close', () => {
    dialog.remove();
    onClose?.();
    // The browser does so as well, but not where the element has been replaced meanwhile.
    if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    else document.querySelector<HTMLElement>('h1')?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  (focus ?? cancel).focus();
  return {
    act: (text, enabled) => {
      setText(act, text);
      act.disabled = !enabled;
    },
  };
}

export interface FieldOrder {
  readonly label: string;
  readonly hint?: string;
  readonly value?: string;
  readonly type?: 'text' | 'number' | 'password';
  readonly placeholder?: string;
  readonly required?: boolean;
}

export function field({ label, hint, value = '', type = 'text', placeholder, required }: FieldOrder): {
  readonly el: HTMLElement;
  readonly input: HTMLInputElement;
} {
  const id = newId('field');
  const hintId = `${id}-hint`;
  const input = h('input', {
    ...{ id, type, value, placeholder, required, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off' },
    'aria-describedby': hint !== undefined && hintId,
  });
  return {
    input,
    el: h(
      'div',
      { class: 'field' },
      h('label', { for: id }, label),
      input,
      hint !== undefined && h('p', { id: hintId, class: 'hint' }, hint),
    ),
  };
}

export function check(
  label: string,
  hint: string,
  checked = false,
): { readonly el: HTMLElement; readonly input: HTMLInputElement } {
  const input = h('input', { type: 'checkbox', checked });
  return { input, el: h('label', { class: 'check' }, input, h('span', {}, label, h('small', {}, hint))) };
}
