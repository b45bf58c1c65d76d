/** Small programs for what Node cannot do, made by the compiler that made the addon. */
import { execFileSync } from 'node:child_process';

/** Compiles C++ into the file `path`, and returns it. */
export function compileProgram(path: string, source: string): string {
  execFileSync(process.env.CXX ?? 'g++', ['-x', 'c++', '-o', path, '-'], { input: source });
  return path;
}
