import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { expect, it } from 'vitest';
import { makePortFinder } from '../../../src/demo/ports.ts';

it('gives each port once, none that the system gives away, and only those of its part', async () => {
  const [first = '', last = ''] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split('\t');
  const find = makePortFinder({ from: 3, of: 8 });
  const ports: number[] = [];
  for (let n = 0; n < 300; n += 1) ports.push(await find());
  expect(new Set(ports).size).toBe(ports.length);
  for (const port of ports) {
    expect(port % 8).toBe(3);
    expect(port < Number(first) || port > Number(last)).toBe(true);
  }
});

it('gives none that is in use', async () => {
  const server = createServer();
  const port = await makePortFinder()();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const of = 100;
  try {
    // Each finder gives half of its part: were it no matter, one of twelve would give this port all but surely.
    for (let finder = 0; finder < 12; finder += 1) {
      const find = makePortFinder({ from: (port - 10_000) % of, of });
      const given: number[] = [];
      for (let n = 0; n < 100; n += 1) given.push(await find());
      expect(given).not.toContain(port);
    }
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});
