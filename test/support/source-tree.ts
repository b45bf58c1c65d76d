/** The project's own code as trees, for rules that are about code: comments and types are gone from them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { transformSync } from 'esbuild';
import { parseAst } from 'vitest/node';
import { projectRoot } from './files.ts';

/** A node of ESTree. */
export interface TreeNode {
  readonly type: string;
  // biome-ignore lint/suspicious/noExplicitAny: each type of node has other fields
  readonly [field: string]: any;
}

export interface Tree {
  /** From the root of the project: `src/core/errors.ts`. */
  readonly file: string;
  readonly root: TreeNode;
}

/** Of every TypeScript file below a folder of the project. */
export function treesOf(folder: string): Tree[] {
  return readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .map((name) => ({
      file: `${folder}/${name}`,
      root: treeOf(readFileSync(join(projectRoot, folder, name), 'utf8')),
    }));
}

export function treeOf(text: string): TreeNode {
  return parseAst(transformSync(text, { loader: 'ts', target: 'node20' }).code) as unknown as TreeNode;
}

/** Every node below one, itself included. Where `enter` says no, neither it nor what is below it. */
export function* nodesOf(node: TreeNode, enter: (node: TreeNode) => boolean = () => true): Generator<TreeNode> {
  if (!enter(node)) return;
  yield node;
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (typeof child?.type === 'string') yield* nodesOf(child, enter);
    }
  }
}
