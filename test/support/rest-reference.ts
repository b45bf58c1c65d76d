/** docs/REST.md out of the OpenAPI documents of both ports. */
import { roleOfRoute } from '../../src/server/route-roles.ts';
import type { Json } from './api.ts';

const intro = `<!-- Generated from /openapi.json of both ports: npx vitest run test/unit/server/openapi.test.ts -u. Do not edit. -->
# REST reference

Every public route of both ports: what it takes and answers. How they belong together, with examples, is in [API.md](API.md); errors by their
code in [ERRORS.md](ERRORS.md); roles in [SECURITY.md](SECURITY.md). \`?\` behind a name: it may be absent. A daemon says the same of itself at \`GET /openapi.json\`.
`;

/** How deep objects within objects are told; what lies deeper is \`{…}\`. */
const mostDepth = 3;

export function restReference(documents: readonly { readonly title: string; readonly document: Json }[]): string {
  const parts = documents.flatMap(({ title, document }) => [
    `## ${title}\n`,
    ...document.tags.flatMap(({ name, description }: { name: string; description: string }) =>
      sectionOf(document, name, description),
    ),
  ]);
  return `${intro}\n${parts.join('\n')}`;
}

function sectionOf(document: Json, tag: string, description: string): string[] {
  const routes = Object.entries<Json>(document.paths).flatMap(([path, item]) =>
    Object.entries<Json>(item)
      .filter(([, operation]) => operation.tags.includes(tag))
      .map(([method, operation]) => routeOf(method.toUpperCase(), path, operation)),
  );
  return routes.length === 0 ? [] : [`### ${description}\n`, ...routes];
}

function routeOf(method: string, path: string, operation: Json): string {
  const { summary, description, parameters = [], requestBody, responses, security } = operation;
  const role = security?.length === 0 ? 'everybody' : roleOfRoute(method, path.replace(/\{(\w+)\}/g, ':$1'))?.role;
  const lines = [
    `#### \`${method} ${path}\`\n`,
    `${summary}.${description === undefined ? '' : ` ${description}`} Who may: ${role ?? 'everybody'}.\n`,
  ];
  const fields = [
    ...parameters.map((one: Json) => [one.name, one.in, one.required === true, one.schema, one.description]),
    ...Object.entries<Json>(schemaOf(requestBody)?.properties ?? {}).map(([name, schema]) => [
      ...[name, 'body', schemaOf(requestBody)!.required?.includes(name) === true, schema, schema.description],
    ]),
  ];
  if (fields.length > 0) {
    lines.push('| field | in | what |', '|---|---|---|');
    for (const [name, where, required, schema, text] of fields)
      lines.push(row([`\`${name}${required ? '' : '?'}\``, where, `${code(typeOf(schema))}${text ? ` ${text}` : ''}`]));
    lines.push('');
  }
  lines.push('| answer | what |', '|---|---|');
  for (const [status, answer] of Object.entries<Json>(responses)) {
    const schema = schemaOf(answer);
    const isError = Number(status) >= 400;
    lines.push(row([status, `${answer.description}${schema && !isError ? `: ${code(typeOf(schema))}` : ''}`]));
  }
  return `${lines.join('\n')}\n`;
}

function schemaOf(carrier: Json): Json | undefined {
  return Object.values<Json>(carrier?.content ?? {})[0]?.schema;
}

function typeOf(schema: Json, depth = 0): string {
  if (schema === undefined || Object.keys(schema).length === 0) return 'anything';
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) return [...new Set(choices.map((one: Json) => typeOf(one, depth)))].join(' | ');
  if (schema.enum !== undefined) return schema.enum.map((one: unknown) => JSON.stringify(one)).join(' | ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === 'array') return `[${typeOf(schema.items, depth)}, …]`;
  if (schema.type !== 'object') return schema.type ?? 'anything';
  const properties = Object.entries<Json>(schema.properties ?? {});
  if (properties.length === 0) {
    const values = schema.additionalProperties ?? Object.values(schema.patternProperties ?? {})[0];
    return typeof values === 'object' ? `{name: ${typeOf(values, depth + 1)}}` : '{…}';
  }
  if (depth >= mostDepth) return '{…}';
  const told = properties.map(
    ([name, one]) => `${name}${schema.required?.includes(name) ? '' : '?'}: ${typeOf(one, depth + 1)}`,
  );
  return `{${told.join(', ')}}`;
}

function code(text: string): string {
  return `\`${text}\``;
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
}
