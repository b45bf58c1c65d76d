/** The schema as a list: every setting with its dotted path, its name in the environment and its flag. */
import type { TSchema } from 'typebox';
import { type Leaf, leafOf } from './forms.ts';
import { configSchema } from './schema.ts';

export interface Setting {
  /** `worker.memory_budget`; inside a table that repeats `ufs[].endpoint`. */
  readonly path: string;
  readonly leaf: Leaf;
  readonly schema: TSchema;
  readonly required: boolean;
  /** Undefined inside tables that repeat: those are written in the file only. */
  readonly env: string | undefined;
}

export interface Table {
  /** Empty for the top level. */
  readonly path: string;
  readonly description: string;
  readonly repeats: boolean;
  readonly settings: readonly Setting[];
  readonly tables: readonly Table[];
}

interface ObjectShape {
  readonly properties: Record<string, TSchema>;
  readonly required?: readonly string[];
  readonly description?: string;
}

/** `worker.memory_budget` is `PRIMED_WORKER_MEMORY_BUDGET`. */
export function envName(path: string): string {
  return `PRIMED_${path.replaceAll('.', '_').toUpperCase()}`;
}

function tableOf(schema: ObjectShape, path: string, repeats: boolean): Table {
  const settings: Setting[] = [];
  const tables: Table[] = [];
  for (const [name, child] of Object.entries(schema.properties)) {
    const childPath = path === '' ? name : `${path}${repeats ? '[]' : ''}.${name}`;
    const leaf = leafOf(child);
    if (leaf !== undefined) {
      const required = repeats && leaf.default === undefined && (schema.required ?? []).includes(name);
      const env = repeats ? undefined : (leaf.env ?? envName(childPath));
      settings.push({ path: childPath, leaf, schema: child, required, env });
    } else if ('items' in child) {
      tables.push(tableOf(child.items as unknown as ObjectShape, childPath, true));
    } else {
      tables.push(tableOf(child as unknown as ObjectShape, childPath, false));
    }
  }
  return { path, description: schema.description ?? '', repeats, settings, tables };
}

export const rootTable: Table = tableOf(configSchema as unknown as ObjectShape, '', false);

/** All tables, parents first. */
export function allTables(table: Table = rootTable): readonly Table[] {
  return [table, ...table.tables.flatMap((child) => allTables(child))];
}

/** Settings of tables that do not repeat, by path. */
export const settings: ReadonlyMap<string, Setting> = new Map(
  allTables()
    .filter((table) => !table.repeats)
    .flatMap((table) => table.settings.map((setting) => [setting.path, setting] as const)),
);

const byPath: ReadonlyMap<string, Setting> = new Map(
  allTables().flatMap((table) => table.settings.map((setting) => [setting.path, setting] as const)),
);

/** @param key may have indexes: `s3.key[0].prefixes` is the setting `s3.key[].prefixes` */
export function settingAt(key: string): Setting | undefined {
  return byPath.get(key.replace(/\[\d+\]/g, '[]'));
}
