/** Pages of several workers, put together: each path once, with all that is said of it. */
import { type HeldFile, type HeldVersion, versionsOf } from '../../core/holdings.ts';
import type { MergedItem } from '../../core/listing.ts';

/** One entry of a listing over workers. */
export type HeldItem =
  | { readonly key: string; readonly versions: readonly HeldVersion[] }
  | { readonly prefix: string };

export function named(holder: string, page: HeldPage): NamedPage {
  return { ...page, files: page.files.map(({ key, record }) => ({ key, record: { holder, files: record } })) };
}

type HeldPage = {
  readonly files: readonly { readonly key: string; readonly record: readonly HeldFile[] }[];
  readonly commonPrefixes: readonly string[];
  readonly next?: string;
};
type NamedPage = Omit<HeldPage, 'files'> & {
  readonly files: readonly { readonly key: string; readonly record: { holder: string; files: readonly HeldFile[] } }[];
};

export function heldItem(item: MergedItem<{ holder: string; files: readonly HeldFile[] }>): HeldItem {
  if ('prefix' in item) return item;
  const said = item.records.flatMap(({ holder, files }) => files.map((file) => ({ holder, file })));
  return { key: item.key, versions: versionsOf(said) };
}
