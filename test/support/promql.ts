/** What a query of Prometheus asks for, as far as tests need to know. */

/** Metrics that are named in it, each once; not labels, functions, or what stands in quotes. */
export function namesIn(expr: string): string[] {
  const bare = expr
    .replace(/"[^"]*"/g, '')
    .replace(/\{[^}]*\}/g, '')
    .replace(/\[[^\]]*\]/g, '');
  const names = bare.matchAll(/(?<![\w$])(up|process_\w+|nodejs_\w+|primed_\w+)(?!\w)/g);
  return [...new Set([...names].map(([, name]) => name!))];
}
