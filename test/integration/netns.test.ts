/** The network that other tests trust: what is cut does not arrive, what is shaped is slow, and nothing is left behind. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, it } from 'vitest';
import { type Host, type Network, openNetwork } from '../../bench/support/netns.ts';

let network: Network | undefined;
afterEach(() => {
  network?.close();
  network = undefined;
});

const namespaces = () => execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' });

/** Node on a host, with what it writes to standard output. */
function nodeOn(host: Host, script: string, timeoutMs = 20_000): string {
  const [program, ...words] = [...host.by, process.execPath, '-e', script];
  const { stdout, stderr, status } = spawnSync(program!, words, { encoding: 'utf8', timeout: timeoutMs });
  if (status !== 0) throw new Error(`on ${host.name}: ${stderr}`);
  return stdout;
}

async function serveOn(host: Host, script: string): Promise<void> {
  const [program, ...words] = [...host.by, process.execPath, '-e', script];
  const child = spawn(program!, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
}

const echo = `require('net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(7000, () => console.log('up'))`;
/** Says `heard`, or `silence` after 600 ms without an answer: neither an error nor a reset. */
const askEcho = (address: string) => `
  const s = require('net').connect(7000, '${address}', () => s.write('x'));
  const say = (what) => { console.log(what); process.exit(0); };
  s.on('data', () => say('heard')); s.on('error', (e) => say(e.code)); setTimeout(say, 600, 'silence')`;

it('what is cut in one direction is silent, is counted, and comes back when it is healed', async () => {
  network = openNetwork(['a', 'b', 'c']);
  const [a, b, c] = ['a', 'b', 'c'].map((name) => network!.host(name)) as [Host, Host, Host];
  await serveOn(b, echo);
  expect(nodeOn(a, askEcho(b.address)).trim()).toBe('heard');
  expect(network.dropped({ from: 'a', to: 'b' })).toBe(0);

  network.cut({ from: 'a', to: 'b' });
  expect(nodeOn(a, askEcho(b.address)).trim()).toBe('silence');
  expect(nodeOn(c, askEcho(b.address)).trim()).toBe('heard');
  expect(nodeOn(network.outside, askEcho(b.address)).trim()).toBe('heard');
  expect(network.dropped({ from: 'a', to: 'b' })).toBeGreaterThan(0);
  expect(network.dropped({ from: 'c', to: 'b' })).toBe(0);

  network.heal();
  network.cut({ from: 'b', to: 'a' });
  expect(nodeOn(a, askEcho(b.address)).trim()).toBe('silence');
  expect(network.dropped({ from: 'b', to: 'a' })).toBeGreaterThan(0);
  network.heal();
  expect(nodeOn(a, askEcho(b.address)).trim()).toBe('heard');
});

it('a lost share of the packets slows a connection, and does not break it', async () => {
  network = openNetwork(['a', 'b']);
  await serveOn(network.host('b'), echo);
  network.lose('b', 1);
  expect(nodeOn(network.host('a'), askEcho(network.host('b').address)).trim()).toBe('silence');
  network.lose('b', 0.1);
  const many = `const s = require('net').connect(7000, '${network.host('b').address}'); let got = 0;
    s.write(Buffer.alloc(1 << 20));
    s.on('data', (d) => { got += d.length; if (got === 1 << 20) { console.log('all'); s.destroy(); } });`;
  expect(nodeOn(network.host('a'), many).trim()).toBe('all');
  network.lose('b', 0);
  expect(nodeOn(network.host('a'), askEcho(network.host('b').address)).trim()).toBe('heard');
});

it('a shaped link has its rate in each direction', async () => {
  network = openNetwork(['a', 'b'], { bitsPerSecond: 80e6 });
  const [a, b] = [network.host('a'), network.host('b')];
  await serveOn(b, echo);
  // 4 MiB there and back at 10 MB/s each way at once: above 0.42 s of it a token bucket lets 256 KiB pass at once.
  const millis = Number(
    nodeOn(
      a,
      `const s = require('net').connect(7000, '${b.address}'); const from = performance.now(); let got = 0;
       s.write(Buffer.alloc(4 << 20));
       s.on('data', (d) => { got += d.length; if (got === 4 << 20) { console.log(performance.now() - from); s.destroy(); } });`,
    ),
  );
  expect(millis).toBeGreaterThan(350);
});

it('nothing is left of a network that was closed, nor of one whose process was killed', async () => {
  network = openNetwork(['a']);
  const mine = `primed-net.${process.pid}.`;
  expect(namespaces()).toContain(mine);
  network.close();
  expect(namespaces()).not.toContain(mine);

  // As a killed process would have left it: a namespace of its name, with a daemon in it.
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  execFileSync('ip', ['netns', 'add', `primed-net.${dead}.1.1.a`]);
  const words = ['netns', 'exec', `primed-net.${dead}.1.1.a`, process.execPath, '-e', 'setInterval(() => {}, 1e6)'];
  const orphan = spawn('ip', words, { stdio: 'ignore' });
  const ended = once(orphan, 'exit');
  await expect
    .poll(() => execFileSync('ip', ['netns', 'pids', `primed-net.${dead}.1.1.a`], { encoding: 'utf8' }).trim())
    .toBe(String(orphan.pid));
  network = openNetwork(['a']);
  expect(await ended).toEqual([null, 'SIGKILL']);
  expect(namespaces()).not.toContain(`primed-net.${dead}.`);
});
