import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import type { Environment } from '../../../src/config/layers.ts';
import { readConfig } from '../../../src/config/load.ts';
import { showConfig } from '../../../src/config/show.ts';
import { loadConfig } from '../../support/config.ts';
import { temporaryFolder } from '../../support/files.ts';

const folder = temporaryFolder('traces');
afterAll(() => folder.remove());

function order(text: string, env: Environment = {}) {
  const file = join(folder.path, 'primed.toml');
  writeFileSync(file, text);
  return { role: 'standalone' as const, flags: {}, env, file };
}
const traces = (text: string, env?: Environment) => loadConfig(order(text, env)).traces;

it('without a collector there are no traces, whatever else is said of them', () => {
  expect(traces('')).toBeUndefined();
  expect(traces('[traces]\nsampler = "always_on"', { OTEL_TRACES_SAMPLER: 'xray' })).toBeUndefined();
  expect(traces('', { OTEL_SERVICE_NAME: 'other', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' })).toBeUndefined();
});

it.each([
  ['http://c:4318', undefined, 'http://c:4318/v1/traces'],
  ['http://c:4318/', undefined, 'http://c:4318/v1/traces'],
  ['https://c/otlp/v1/traces', undefined, 'https://c/otlp/v1/traces'],
  [undefined, { OTEL_EXPORTER_OTLP_ENDPOINT: 'https://c/otlp/' }, 'https://c/otlp/v1/traces'],
  [
    undefined,
    { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://c/x', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://d' },
    'https://c/x',
  ],
  [undefined, { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c:1/' }, 'http://c:1/'],
  ['http://mine:1', { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c' }, 'http://mine:1/v1/traces'],
] as [string | undefined, Environment | undefined, string][])('endpoint %s with %o is %s', (endpoint, env, url) => {
  expect(traces(endpoint === undefined ? '' : `[traces]\nendpoint = "${endpoint}"`, env)?.url).toBe(url);
});

it('takes the variables of OpenTelemetry for what nobody has written', () => {
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318',
    OTEL_EXPORTER_OTLP_HEADERS: 'api-key=a%20b, other=c=d',
    OTEL_SERVICE_NAME: 'cache',
    OTEL_RESOURCE_ATTRIBUTES: 'rack=7,empty=',
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0.25',
  };
  expect(traces('[traces]\nservice_name = "mine"', env)).toEqual({
    url: 'http://c:4318/v1/traces',
    headers: { 'api-key': 'a b', other: 'c=d' },
    serviceName: 'mine',
    attributes: { rack: '7', empty: '' },
    sampler: 'parentbased_traceidratio',
    ratio: 0.25,
    files: 'some',
  });
  for (const off of [{ OTEL_SDK_DISABLED: 'true' }, { OTEL_TRACES_EXPORTER: 'none' }])
    expect(traces('', { ...env, ...off })).toBeUndefined();
});

it.each([
  [{ OTEL_TRACES_SAMPLER: 'xray' }, /OTEL_TRACES_SAMPLER: must be one of/],
  [{ OTEL_TRACES_SAMPLER_ARG: '2' }, /OTEL_TRACES_SAMPLER_ARG: must be from 0 to 1/],
  [{ OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, /OTEL_EXPORTER_OTLP_PROTOCOL: must be "http\/protobuf"/],
  [
    { OTEL_EXPORTER_OTLP_HEADERS: 'a secret without a name' },
    /OTEL_EXPORTER_OTLP_HEADERS: is not a list of name=value/,
  ],
  [{ OTEL_EXPORTER_OTLP_HEADERS: 'bad name=x' }, /OTEL_EXPORTER_OTLP_HEADERS: is not a list/],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'c:4318' }, /OTEL_EXPORTER_OTLP_ENDPOINT: must be a URL/],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://user:word@c' }, /OTEL_EXPORTER_OTLP_ENDPOINT: has a user or a password/],
] as [Environment, RegExp][])('refuses %o', (env, complaint) => {
  const all = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', ...env };
  expect(() => traces('', all)).toThrow(complaint);
  expect(() => traces('', all)).not.toThrow(/secret|word@/);
});

it('headers are shown to nobody', () => {
  const shown = showConfig(
    readConfig(order('[traces]\nendpoint = "http://c"', { OTEL_EXPORTER_OTLP_HEADERS: 'key=planted-7c1' })),
    'standalone',
  );
  expect(shown.find(({ key }) => key === 'traces.headers')).toMatchObject({
    value: null,
    text: '(hidden)',
    from: 'OTEL_EXPORTER_OTLP_HEADERS',
  });
  expect(JSON.stringify(shown)).not.toContain('planted');
});
