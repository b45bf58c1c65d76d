/** Light, dark, or as the system has it: the choice is kept in this browser. */
import { h, setText } from './dom.ts';

const key = 'primed.theme';
const themes = ['auto', 'light', 'dark'] as const;
type Theme = (typeof themes)[number];

export function themeButton(): HTMLElement {
  let theme = themes.find((one) => one === localStorage.getItem(key)) ?? 'auto';
  const button = h('button', { type: 'button', class: 'tool' });
  const show = (now: Theme): void => {
    if (now === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    setText(button, `Theme: ${now}`);
    // What is drawn on a canvas has to be drawn again.
    dispatchEvent(new Event('primed-theme'));
  };
  button.addEventListener('click', () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length]!;
    localStorage.setItem(key, theme);
    show(theme);
  });
  show(theme);
  return button;
}
