/** What shells complete, asked of the shells as people have them: a key that is pressed, and the line that it makes. */
import { spawnSync } from 'node:child_process';

/** What stands in the line after TAB was pressed once, for each of `lines`; zsh's zpty is the terminal of both shells. */
export function pressedTab(shell: 'bash' | 'zsh', set: readonly string[], lines: readonly string[]): string[] {
  const begin = { bash: 'bash --norc --noprofile -i', zsh: 'zsh -f -i' }[shell];
  // After the line has been completed a second key shows it: keys are worked off in their order, so nothing is waited for.
  const show = {
    bash: `bind -x '"\\C-g": printf "<%s%s>\\n" "<" "$READLINE_LINE>"'`,
    zsh: `show() { print -r -- "<""<$BUFFER>>"; BUFFER=; zle redisplay }; zle -N show; bindkey '^G' show; bindkey '^I' complete-word`,
  }[shell];
  const driver = `
zmodload zsh/zpty
zpty terminal ${begin}
give() { zpty -w -n terminal "$1" }
heard() { local text; zpty -r -m terminal text "*$1*" || { print -r -- "the shell has ended: $text"; exit 1 } ; REPLY=$text }
setup() { give "$1"$'\\n' }
${[...set, show, 'printf "ready%s\\n" -now'].map((line) => `setup ${quoted(line)}`).join('\n')}
heard ready-now
for line in "$@"; do
  give $'\\C-u'"$line"$'\\t\\C-g'
  heard '>>'
  print -r -- "\${\${REPLY##*<<}%%>>*}"
done
zpty -d terminal`;
  return run('zsh', ['-f', '-c', driver, 'driver', ...lines])
    .split('\n')
    .slice(0, -1);
}

/** What a program gives out. Throws what it says where it fails. */
export function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    ...{ encoding: 'utf8', timeout: 120_000, cwd: env.HOME },
    env: { ...process.env, TERM: 'dumb', LC_ALL: 'C.UTF-8', ...env },
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${program} ended with ${status}: ${stdout}${stderr}`);
  return stdout;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
