/** A file system without hard links, at the system call: `link` and `linkat` fail as they do on vfat. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const source = `
#include <errno.h>
#include <unistd.h>
int link(const char *from, const char *to) { (void)from; (void)to; errno = EPERM; return -1; }
int linkat(int a, const char *from, int b, const char *to, int flags) {
  (void)a; (void)from; (void)b; (void)to; (void)flags; errno = EPERM; return -1;
}
`;

/** Variables for a process that is to meet it. The compiler is the one that builds the addon. */
export function withoutLinks(dir: string): { LD_PRELOAD: string } {
  const [from, to] = [join(dir, 'no-links.c'), join(dir, 'no-links.so')];
  writeFileSync(from, source);
  execFileSync('cc', ['-shared', '-fPIC', '-o', to, from]);
  return { LD_PRELOAD: to };
}
