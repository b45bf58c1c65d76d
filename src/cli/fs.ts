/** `primed fs …`: what is cached. */
import type { RegisterVerb } from './context.ts';
import { registerFsCat } from './fs-cat.ts';
import { registerFsCheck } from './fs-check.ts';
import { registerFsLs } from './fs-ls.ts';
import { registerFsPin } from './fs-pin.ts';
import { registerFsStat } from './fs-stat.ts';
import { addGroup } from './verb.ts';

export const registerFs: RegisterVerb = (program, context) => {
  const fs = addGroup(program, {
    name: 'fs',
    description: 'list, read, check and pin what is cached',
    examples: ['primed fs ls s3://datasets/', 'primed fs check s3://datasets/imagenet/'],
  });
  for (const register of [registerFsLs, registerFsStat, registerFsCat, registerFsCheck, registerFsPin])
    register(fs, context);
};
