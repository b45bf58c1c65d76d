/**
 * Versions of what the nodes of a cluster say to each other: registration (over HTTP or in etcd), and the control link. A node
 * understands a range of two, and two nodes speak the highest that both understand. So a release and the one before it work
 * together, whichever of coordinator and workers is exchanged first; over more than one step they refuse each other, with both
 * versions and the remedy in the error.
 *
 *   3   what a side does not know ends the connection; a registration has the fields that it has, and no others
 *   4   a call that is not known is answered with a failure, any other message is passed over; fields are ignored as below; the calls
 *       `missing` and `room`, of plans
 *
 * How to add something, so that nodes without it go on working:
 *
 * - A field: at the end of a message or a call of the control link, in an object of it (RunSpec, RunProgress, a peer, a limit),
 *   in an entry of etcd, in an answer, or as a header of a request. **Who does not know it ignores it, and who misses it has a
 *   default.** So its type says that it may be absent, or what is heard goes through `withDefaults`. It needs no new version.
 *   Not in the body of a registration, nor in the query of a goodbye, while 3 is understood: those of 3 are strict.
 * - A message, a call, a value of an enumeration (a result, a reason): raise `newest`, and say it only over a connection that
 *   speaks that version (`protocol` of the connection). Calls and messages need no new version any more when `oldest` is 4.
 * - A change of what exists: say it under a new name, as above, and the old one too while the old version is understood.
 * - When `newest` is raised, `oldest` rises with it to the one before, and what only served versions below goes. The release in
 *   test/samples becomes the last one that does not know the new version.
 */
export interface ProtocolRange {
  readonly oldest: number;
  readonly newest: number;
}

export const clusterProtocol: ProtocolRange = { oldest: 3, newest: 4 };

/** What a worker says of its range beside the body of its registration, whose `protocol` is the oldest of it. */
export const protocolsHeader = 'x-primed-protocols';

/** The highest version that both understand; undefined: there is none. */
export function commonProtocol(one: ProtocolRange, other: ProtocolRange): number | undefined {
  const newest = Math.min(one.newest, other.newest);
  return newest >= Math.max(one.oldest, other.oldest) ? newest : undefined;
}

/** All versions of a range, the newest first; at most ten. */
export function versionsOf({ oldest, newest }: ProtocolRange): readonly number[] {
  return Array.from({ length: Math.min(10, newest - oldest + 1) }, (_, back) => newest - back);
}

/** `3`, `3 to 4`. */
export function rangeText({ oldest, newest }: ProtocolRange): string {
  return oldest === newest ? `${oldest}` : `${oldest} to ${newest}`;
}

/** As in the header: `3-4`. */
export function rangeHeader({ oldest, newest }: ProtocolRange): string {
  return `${oldest}-${newest}`;
}

/** Undefined for what is no range. */
export function parseRange(text: string): ProtocolRange | undefined {
  const [, oldest, newest] = /^(\d{1,6})-(\d{1,6})$/.exec(text) ?? [];
  if (oldest === undefined || Number(newest) < Number(oldest)) return undefined;
  return { oldest: Number(oldest), newest: Number(newest) };
}

export interface Speaker {
  /** At the start of a sentence, or in it: `worker 'w1'`. */
  readonly name: string;
  /** Of primed; undefined: it does not say. */
  readonly release?: string | undefined;
  readonly range: ProtocolRange;
}

/** Why two nodes do not work together, and which of them is to be exchanged. */
export function protocolsApart(other: Speaker, self: Speaker): string {
  const behind = other.range.newest < self.range.oldest ? other : self;
  const said = ({ name, release, range }: Speaker) =>
    `${name}${release === undefined ? '' : ` (primed ${release})`} speaks ${range.oldest === range.newest ? 'version' : 'versions'} ${rangeText(range)} of the cluster's protocol`;
  const text = `${said(other)}, and ${said(self)}; nodes work together that are one version apart. Bring ${behind.name} to a newer primed, one version after the other where there are several between them.`;
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * What was heard, with what is absent from it taken from `defaults`, in objects within it too. What only the other side knows
 * stays as it is. Throws a TypeError where something has another type than its default.
 */
export function withDefaults<T extends object>(defaults: T, heard: unknown): T {
  if (typeof heard !== 'object' || heard === null || Array.isArray(heard)) throw new TypeError('an object is expected');
  const whole: Record<string, unknown> = { ...heard };
  for (const [name, byDefault] of Object.entries(defaults)) {
    const said = whole[name];
    if (said === undefined || said === null) whole[name] = byDefault;
    else if (typeof said !== typeof byDefault) throw new TypeError(`${name} is of another type`);
    else if (typeof byDefault === 'object' && byDefault !== null && !Array.isArray(byDefault))
      whole[name] = withDefaults(byDefault as object, said);
  }
  return whole as T;
}
