/** The variables that programs with OpenTelemetry have in common: each stands in for a setting of `[traces]` that nobody has written. */
import { assign, type Draft } from './draft.ts';
import type { Environment } from './layers.ts';
import { settingAt } from './settings.ts';

/** The first that is set counts. */
const variables: readonly [setting: string, names: readonly string[]][] = [
  ['endpoint', ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT']],
  ['headers', ['OTEL_EXPORTER_OTLP_TRACES_HEADERS', 'OTEL_EXPORTER_OTLP_HEADERS']],
  ['ca_file', ['OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE', 'OTEL_EXPORTER_OTLP_CERTIFICATE']],
  ['service_name', ['OTEL_SERVICE_NAME']],
  ['attributes', ['OTEL_RESOURCE_ATTRIBUTES']],
  ['sampler', ['OTEL_TRACES_SAMPLER']],
  ['ratio', ['OTEL_TRACES_SAMPLER_ARG']],
];

/** After all layers. Where nothing names a collector the others are not looked at: they may be meant for programs beside. */
export function applyTraceVariables(draft: Draft, env: Environment): void {
  if (env.OTEL_SDK_DISABLED === 'true' || env.OTEL_TRACES_EXPORTER === 'none') {
    for (const kept of [draft.values, draft.sources]) kept.delete('traces.endpoint');
    return;
  }
  for (const [name, names] of variables) {
    const key = `traces.${name}`;
    if (name !== 'endpoint' && !draft.values.has('traces.endpoint')) return;
    const place = names.find((one) => (env[one] ?? '') !== '');
    if (place === undefined || draft.values.has(key) || draft.values.has(`${key}_file`)) continue;
    const source = { kind: 'env', place } as const;
    assign(draft, settingAt(key)!, { key, raw: env[place], base: process.cwd(), source });
  }
  const place = ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'].find(
    (one) => (env[one] ?? '') !== '',
  );
  if (draft.values.has('traces.endpoint') && place !== undefined && env[place] !== 'http/protobuf')
    draft.errors.push(`${place}: must be "http/protobuf", which is all that is spoken here, not "${env[place]}"`);
}
