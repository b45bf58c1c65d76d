import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runToEnd } from './bundled.ts';
import { makeFolder } from './folder.ts';

const script = fileURLToPath(new URL('../../../scripts/build-native.mjs', import.meta.url));

describe('scripts/build-native.mjs', () => {
  const empty = makeFolder();

  it('names the packages when there is neither make nor a compiler', async () => {
    const ran = await runToEnd('env', [`PATH=${empty}`, 'CXX=', process.execPath, script]);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toMatch(/^build-native: make and g\+\+ cannot be run\. .*`apt install g\+\+ make`/);
  });

  it('names only what is missing, by the name that was configured', async () => {
    const onlyMake = makeFolder();
    symlinkSync('/bin/true', join(onlyMake, 'make'));
    const ran = await runToEnd('env', [`PATH=${onlyMake}`, 'CXX=no-such-compiler', process.execPath, script]);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toMatch(/^build-native: no-such-compiler cannot be run\./);
  });
});
