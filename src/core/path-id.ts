/** The id by which clients of Alluxio's page API name a file. */
import { hash } from 'node:crypto';

/** Lowercase hex SHA-256 of the path, exactly as the client writes it. */
export function pathId(path: string): string {
  return hash('sha256', path, 'hex');
}

export function isPathId(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}
