/** What a node says of itself on /metrics. */

/** The first row of each name, with or without labels. Throws for one that is not there. */
export async function readMetrics(api: string, names: readonly string[]): Promise<number[]> {
  const text = await (await fetch(`${api}/metrics`)).text();
  return names.map((name) => {
    const value = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\d+)`, 'm').exec(text)?.[1];
    if (value === undefined) throw new Error(`${api} does not say ${name}`);
    return Number(value);
  });
}
