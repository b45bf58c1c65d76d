/** Asks for a token, where the coordinator does. */
import { token } from './api.ts';
import { field } from './dialog.ts';
import { h } from './dom.ts';
import { titled } from './parts.ts';
import type { View } from './view.ts';

export function signInView(refused: boolean, onToken: () => void): View {
  const { head, title } = titled('Sign in');
  const given = field({
    label: 'Token',
    type: 'password',
    required: true,
    hint: 'One of the tokens of this cluster. It is kept in this tab until it is closed, and sent to this coordinator only.',
  });
  const form = h(
    'form',
    {},
    h(
      'p',
      { class: 'wrong', role: 'alert', hidden: !refused },
      'The coordinator does not take this token: it is wrong, or no longer valid.',
    ),
    given.el,
    h('div', { class: 'acts' }, h('button', { type: 'submit', class: 'main' }, 'Sign in')),
  );
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    token.set(given.input.value.trim());
    onToken();
  });
  return {
    name: 'Sign in',
    el: h('div', { class: 'card narrow' }, head, form),
    title: refused ? given.input : title,
    update() {},
  };
}
