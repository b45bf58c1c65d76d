/** `primed fs …`: what is cached. */
import type { RegisterVerb } from './context.ts';
import { registerFsCat } from './fs-cat.ts';
import { registerFsCheck } from './fs-check.ts';
import { registerFsLs } from './fs-ls.ts';
import { registerFsPin } from './fs-pin.ts';
import { registerFsStat } from './fs-stat.ts';

export const registerFs: RegisterVerb = (program, context) => {
  const fs = program.command('fs').description('list, read, check and pin what is cached');
  for (const register of [registerFsLs, registerFsStat, registerFsCat, registerFsCheck, registerFsPin])
    register(fs, context);
};
