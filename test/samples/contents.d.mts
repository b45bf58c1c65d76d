export const sizes: ReadonlyMap<string, number>;
export const lastModifiedMs: number;
export function contentOf(key: string): Buffer;
