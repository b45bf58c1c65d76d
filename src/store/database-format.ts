/**
 * What LMDB's file looks like, as far as it takes to tell whether all of it is there (format of lmdb-js: LMDB's data version 2).
 *
 *   page 0, page 1     header of 24 B { number u64, txn u64, pad u16, flags u16, lower u16, upper u16 }, then a meta:
 *   meta               magic u32 | version u16.. | address u64 | map size u64 | free tree 48 B | main tree 48 B | last page u64 | txn u64 | boot u64
 *   tree               pad u32 (of the first: the page size) | flags u16 | depth u16 | 4 counts u64 | root u64
 *   page 0 + half      a third meta, where commits are synced later than they are made
 *   branch, leaf page  header, then u16 offsets of nodes { low u16, high u16, flags u16, key bytes u16, key, data }, from behind the header
 *
 * LMDB maps the file and follows page numbers without a look at where the file ends: a page that is not there is a SIGBUS. The last
 * page that a meta names may rightly be missing, when it was taken and given back in one transaction. So where the file is
 * shorter than it says, what counts is whether some tree leads there.
 */

/** mm_magic, at byte 24 of the file. */
const magic = 0xbeefc0de;
const dataVersion = 2;
const headerBytes = 24;
/** Of a meta with its header. */
export const metaBytes = headerBytes + 144;
const flag = { branch: 0x01, leaf: 0x02, meta: 0x08 } as const;
const nodeFlag = { overflow: 0x01, tree: 0x02 } as const;
const nodeHeaderBytes = 8;
const treeBytes = 48;
/** Of a tree: a commit that was not synced when its meta was written. */
const unsynced = 0x1000;
const noPage = 0xffff_ffff_ffff_ffffn;
/** LMDB's own limit for the depth of a tree. */
const mostDepth = 32;

export interface Meta {
  readonly pageBytes: number;
  readonly lastPage: number;
  /** Free pages, and the tree of the tables; undefined: empty. */
  readonly roots: readonly (number | undefined)[];
  readonly txn: bigint;
  readonly boot: bigint;
  readonly unsynced: boolean;
}

/** True for the first bytes of a file of LMDB. */
export function hasMagic(head: Buffer): boolean {
  return head.length >= headerBytes + 4 && head.readUInt32LE(headerBytes) === magic;
}

/** A meta page; or what is wrong with it, as a text. @param bytes `metaBytes` of the file */
export function decodeMeta(bytes: Buffer): Meta | string {
  if (bytes.length < metaBytes) return 'the file ends within it';
  if (!hasMagic(bytes)) return 'it has not the mark of one';
  if (bytes.readUInt16LE(headerBytes + 4) !== dataVersion) return 'it is of another version of LMDB';
  return decodeBody(bytes);
}

/** The third meta, which has neither mark nor version; undefined where none was written. */
export function decodeSynced(bytes: Buffer): Meta | undefined {
  const meta = bytes.length < metaBytes ? '' : decodeBody(bytes);
  return typeof meta === 'string' || meta.txn === 0n ? undefined : meta;
}

function decodeBody(bytes: Buffer): Meta | string {
  const free = headerBytes + 24;
  const main = free + treeBytes;
  const pageBytes = bytes.readUInt32LE(free);
  if (pageBytes < 512 || pageBytes > 65_536 || (pageBytes & (pageBytes - 1)) !== 0)
    return `it says that pages have ${pageBytes} bytes`;
  const lastPage = Number(bytes.readBigUInt64LE(main + treeBytes));
  if (lastPage < 1 || lastPage * pageBytes > Number.MAX_SAFE_INTEGER)
    return `it says that the last page is ${lastPage}`;
  const roots: (number | undefined)[] = [];
  for (const at of [free, main]) {
    const root = bytes.readBigUInt64LE(at + 40);
    if (root !== noPage && (root < 2n || root > BigInt(lastPage))) return `it says that a tree begins at page ${root}`;
    roots.push(root === noPage ? undefined : Number(root));
  }
  return {
    ...{ pageBytes, lastPage, roots },
    txn: bytes.readBigUInt64LE(main + treeBytes + 8),
    boot: bytes.readBigInt64LE(main + treeBytes + 16),
    unsynced: (bytes.readUInt16LE(free + 4) & unsynced) !== 0,
  };
}

/**
 * The meta that LMDB goes by when it opens the file: the newest, unless the machine was started anew since a commit that was not
 * synced; then what was synced last.
 * @param boot of this start of the machine
 */
export function metaInUse(metas: { first: Meta; second: Meta; synced: Meta | undefined }, boot: bigint): Meta {
  const pick = (a: Meta, b: Meta): Meta => {
    if (b.txn === 0n) return a;
    const latest = a.txn >= b.txn ? a : b;
    if (!latest.unsynced || (latest.boot !== 0n && latest.boot === boot)) return latest;
    return a.txn > b.txn ? b : a;
  };
  const { first, second, synced } = metas;
  const latest = pick(first, second);
  return synced === undefined ? latest : pick(latest, synced);
}

/** Reads a page of the file; undefined where the file ends before its end. The buffer is valid until the next call. */
export type ReadPage = (page: number) => Buffer | undefined;

/**
 * What is wrong with the trees below `meta`, as a text; undefined: nothing. All of them only where the file is shorter than the meta
 * says, else their roots: so it costs two pages, and of a file that is short as many as it has.
 */
export function damageOfTrees(meta: Meta, filePages: number, readPage: ReadPage): string | undefined {
  const all = filePages <= meta.lastPage;
  /** Pages that are to be read, and how deep they lie. */
  const open: { page: number; depth: number }[] = [];
  /** A page is of one tree, once: where damage says otherwise, a walk would not end. */
  const met = new Set<number>();
  for (const root of meta.roots) if (root !== undefined) open.push({ page: root, depth: 0 });
  const ends = (page: number): string =>
    `it has ${filePages} pages of ${meta.pageBytes} bytes, and ${meta.lastPage + 1} belong to it: page ${page} is in use and not there`;
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { page, depth } = next;
    const bytes = page < filePages ? readPage(page) : undefined;
    if (bytes === undefined) return ends(page);
    if (met.has(page)) return `page ${page} is in use twice`;
    met.add(page);
    const flags = bytes.readUInt16LE(18) & (flag.branch | flag.leaf | flag.meta);
    const isTree = flags === flag.branch || flags === flag.leaf;
    if (!isTree || bytes.readBigUInt64LE(0) !== BigInt(page) || depth > mostDepth)
      return `page ${page} is no part of a tree, where one should be`;
    if (!all) continue;
    const found = flags === flag.branch ? childrenOf(bytes) : leavesOf(bytes, meta.pageBytes);
    if (found === undefined) return `page ${page} contradicts itself`;
    for (const child of found.trees) open.push({ page: child, depth: found.isBranch ? depth + 1 : 0 });
    if (found.lastOverflow >= filePages) return ends(found.lastOverflow);
  }
  return undefined;
}

interface Found {
  readonly isBranch: boolean;
  readonly trees: readonly number[];
  /** The last page of the longest way that a value leads; 0 for none. */
  readonly lastOverflow: number;
}

function childrenOf(bytes: Buffer): Found | undefined {
  const trees: number[] = [];
  for (const at of nodesOf(bytes) ?? []) {
    const flags = bytes.readUInt16LE(at + 4);
    trees.push(bytes.readUInt32LE(at) + flags * 2 ** 32);
  }
  return trees.length === 0 ? undefined : { isBranch: true, trees, lastOverflow: 0 };
}

function leavesOf(bytes: Buffer, pageBytes: number): Found | undefined {
  const nodes = nodesOf(bytes);
  if (nodes === undefined) return undefined;
  const trees: number[] = [];
  let lastOverflow = 0;
  for (const at of nodes) {
    const flags = bytes.readUInt16LE(at + 4);
    const data = at + nodeHeaderBytes + bytes.readUInt16LE(at + 6);
    if ((flags & nodeFlag.overflow) !== 0) {
      if (data + 8 > bytes.length) return undefined;
      const pages = Math.floor((headerBytes - 1 + bytes.readUInt32LE(at)) / pageBytes) + 1;
      lastOverflow = Math.max(lastOverflow, Number(bytes.readBigUInt64LE(data)) + pages - 1);
    } else if ((flags & nodeFlag.tree) !== 0) {
      if (data + treeBytes > bytes.length) return undefined;
      const root = bytes.readBigUInt64LE(data + 40);
      if (root !== noPage) trees.push(Number(root));
    }
  }
  return { isBranch: false, trees, lastOverflow };
}

/** Where the nodes of a page begin; undefined where one lies outside it. */
function nodesOf(bytes: Buffer): number[] | undefined {
  const count = bytes.readUInt16LE(20) >> 1;
  if (headerBytes + count * 2 > bytes.length) return undefined;
  const nodes: number[] = [];
  for (let index = 0; index < count; index++) {
    const at = headerBytes + bytes.readUInt16LE(headerBytes + index * 2);
    if (at + nodeHeaderBytes > bytes.length) return undefined;
    nodes.push(at);
  }
  return nodes;
}
