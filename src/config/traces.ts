/** `[traces]`: where spans of OpenTelemetry go. */
import Type from 'typebox';
import { complain, type Draft } from './draft.ts';
import { choice, namesUser, number, path, secret, text, url, userProblem } from './forms.ts';

export const samplers = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

export interface TracesConfig {
  /** Takes POST of OTLP in protobuf: the whole address. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly caFile?: string;
  readonly serviceName: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly sampler: (typeof samplers)[number];
  /** 0 to 1. */
  readonly ratio: number;
  readonly files: 'some' | 'all';
}

export const tracesSchema = Type.Object(
  {
    endpoint: Type.Optional(
      url({
        description:
          'Collector of OpenTelemetry that takes OTLP over HTTP, in protobuf: `http://collector:4318`, to which `/v1/traces` is added unless there is a path.',
        unset:
          'the address in `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, as it is, or `OTEL_EXPORTER_OTLP_ENDPOINT`; neither: no traces',
      }),
    ),
    ...secret('headers', {
      description:
        'Headers that the collector asks for: `name=value`, with commas between them, values percent-encoded.',
      unset: '`OTEL_EXPORTER_OTLP_TRACES_HEADERS`, or `OTEL_EXPORTER_OTLP_HEADERS`',
    }),
    ca_file: Type.Optional(
      path({
        description: "Certificates (PEM) to trust in place of the system's, for the collector.",
        unset: '`OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE`, or `OTEL_EXPORTER_OTLP_CERTIFICATE`',
      }),
    ),
    service_name: Type.Optional(
      text({ description: 'What traces call this program.', unset: '`OTEL_SERVICE_NAME`, else `primed`' }),
    ),
    attributes: Type.Optional(
      text({
        description: 'What is said of this node in every span: `name=value`, with commas between them.',
        unset: '`OTEL_RESOURCE_ATTRIBUTES`',
      }),
    ),
    sampler: Type.Optional(
      choice(samplers, {
        description:
          'Which traces are sent; those that begin with `parentbased_` leave it to the caller where there is one.',
        unset: '`OTEL_TRACES_SAMPLER`, else `parentbased_always_on`',
      }),
    ),
    ratio: Type.Optional(
      number({
        description: 'Share of traces that samplers with `traceidratio` send.',
        minimum: 0,
        maximum: 1,
        unset: '`OTEL_TRACES_SAMPLER_ARG`, else 1',
      }),
    ),
    files: choice(['some', 'all'], {
      description:
        'Which files, and pages of a list, of a traced load have spans: the first 256 on each node, then fewer and fewer, of ten million some 4,000 (`some`), or each of them.',
      default: 'some',
    }),
  },
  {
    additionalProperties: false,
    description: 'Traces of OpenTelemetry. Without an endpoint there are none, and they cost nothing.',
  },
);

/** Undefined: there is no collector. */
export function tracesOf({ values, sources }: Draft): TracesConfig | undefined {
  const get = <T>(name: string): T | undefined => values.get(`traces.${name}`) as T | undefined;
  const endpoint = get<string>('endpoint');
  if (endpoint === undefined) return undefined;
  const caFile = get<string>('ca_file');
  // The variable for traces alone has the whole address: as the specification of OTLP says.
  const whole = sources.get('traces.endpoint')?.place === 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT';
  const fromVariable = sources.get('traces.endpoint')?.place === 'OTEL_EXPORTER_OTLP_ENDPOINT';
  return {
    url: whole ? endpoint : addressOf(endpoint, fromVariable),
    headers: pairsIn(get('headers')) ?? {},
    ...(caFile === undefined ? {} : { caFile }),
    serviceName: get('service_name') ?? 'primed',
    attributes: pairsIn(get('attributes')) ?? {},
    sampler: get('sampler') ?? 'parentbased_always_on',
    ratio: get('ratio') ?? 1,
    files: get('files') ?? 'some',
  };
}

export function checkTraces(draft: Draft): void {
  const endpoint = draft.values.get('traces.endpoint') as string | undefined;
  if (endpoint !== undefined && namesUser(endpoint))
    complain(draft, 'traces.endpoint', `${userProblem}; use traces.headers`);
  for (const name of ['headers', 'attributes'])
    if (pairsIn(draft.values.get(`traces.${name}`) as string | undefined) === undefined)
      complain(draft, `traces.${name}`, 'is not a list of name=value with commas between them, percent-encoded');
}

function addressOf(endpoint: string, always: boolean): string {
  const { pathname } = new URL(endpoint);
  return pathname === '/' || always ? `${endpoint.replace(/\/+$/, '')}/v1/traces` : endpoint;
}

/** Undefined: it cannot be meant. */
function pairsIn(written = ''): Record<string, string> | undefined {
  const pairs: Record<string, string> = {};
  for (const one of written.split(',')) {
    if (one.trim() === '') continue;
    const at = one.indexOf('=');
    const name = one.slice(0, at).trim();
    if (at < 1 || !/^[!#$%&'*+.^_`|~\w-]+$/.test(name)) return undefined;
    try {
      pairs[name] = decodeURIComponent(one.slice(at + 1).trim());
    } catch {
      return undefined;
    }
  }
  return pairs;
}
