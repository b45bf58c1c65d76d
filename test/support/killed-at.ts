/** A process that ends by SIGKILL at a system call about a file: as it is made, or before or behind the rename that gives it another name. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const source = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void at(const char *point, const char *path) {
  const char *wanted = getenv("KILL_AT"), *name = getenv("KILL_FILE");
  if (!wanted || !name || strcmp(wanted, point) != 0) return;
  size_t length = strlen(path), tail = strlen(name);
  if (length >= tail && strcmp(path + length - tail, name) == 0) kill(getpid(), SIGKILL);
}

#define OPEN(function)                                                              \\
  int function(const char *path, int flags, ...) {                                  \\
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #function);              \\
    va_list rest;                                                                   \\
    va_start(rest, flags);                                                          \\
    int fd = real(path, flags, (flags & O_CREAT) ? va_arg(rest, mode_t) : 0);       \\
    va_end(rest);                                                                   \\
    if (flags & O_CREAT) at("made", path);                                          \\
    return fd;                                                                      \\
  }
OPEN(open)
OPEN(open64)

int rename(const char *from, const char *to) {
  int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
  at("whole", from);
  int result = real(from, to);
  at("renamed", from);
  return result;
}
`;

export type KillPoint = 'made' | 'whole' | 'renamed';

/** Returns what makes the variables of such a process: it ends at this point of a file whose path ends so. The compiler is the one that builds the addon. */
export function killing(dir: string): (point: KillPoint, file: string) => Record<string, string> {
  const [from, to] = [join(dir, 'killed-at.c'), join(dir, 'killed-at.so')];
  writeFileSync(from, source);
  execFileSync('cc', ['-shared', '-fPIC', '-o', to, from, '-ldl']);
  return (point, file) => ({ LD_PRELOAD: to, KILL_AT: point, KILL_FILE: file });
}
