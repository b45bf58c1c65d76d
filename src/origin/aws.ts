/**
 * The AWS SDK's part of an S3 origin: one client per bucket, configured from the UFS entry and else from AWS's usual
 * environment (endpoint, region, profiles, the whole chain of credentials). What the SDK would do with a request is
 * asked of it by letting it build one and taking it before it is sent: so lanes connect exactly to where the SDK would.
 */
import { readFileSync } from 'node:fs';
import { GetObjectCommand, HeadBucketCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { fromIni } from '@aws-sdk/credential-provider-ini';
import {
  credentialsTreatedAsExpired,
  credentialsWillNeedRefresh,
  defaultProvider,
} from '@aws-sdk/credential-provider-node';
import { CredentialsProviderError, memoize } from '@smithy/core/config';
import { PrimedError } from '../core/errors.ts';
import { endpointOfProfile } from './aws-profile.ts';
import { heldBack, operationOfCommand, type RequestWatch, watchedRequest } from './request-watch.ts';
import { isHeaderSafe } from './signer.ts';
import type { OriginTimeouts } from './types.ts';
import type { UfsEntry } from './ufs.ts';

/** Attempts of the control plane; the SDK's standard mode pauses between them, from 100 ms up with full jitter. */
export interface OriginRetry {
  /** The first one included. Read at each request. */
  readonly attempts: number;
}

export interface BucketEndpoint {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  readonly hostHeader: string;
  readonly pathPrefix: string;
  readonly endpoint?: string;
  readonly region: string;
  readonly forcePathStyle: boolean;
  readonly caPem?: string;
}

export interface Bucket {
  readonly client: S3Client;
  readonly endpoint: BucketEndpoint;
  readonly signed: boolean;
}

/** What of a credentials identity we look at. */
export interface Identity {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}
export type CredentialProvider = (options?: { forceRefresh?: boolean }) => Promise<Identity>;

const noCredentials: CredentialProvider = () => Promise.resolve({ accessKeyId: '', secretAccessKey: '' });
const fallbackRegion = 'us-east-1';
/** The key in the request that is built to learn the endpoint. */
const probeKey = 'k';

/**
 * The credentials of an entry: its own keys, else what its profile gives, else what the SDK's default chain finds.
 * Rejects with CredentialsProviderError when there are none, or none that a request could carry.
 */
export function credentialProviderOf(entry: UfsEntry): CredentialProvider {
  const provider = uncheckedProviderOf(entry);
  return async (options) => checked(await provider(options));
}

function uncheckedProviderOf({ accessKeyId, secretAccessKey, profile }: UfsEntry): CredentialProvider {
  if (accessKeyId !== undefined && secretAccessKey !== undefined)
    return () => Promise.resolve({ accessKeyId, secretAccessKey });
  if (profile === undefined) return defaultProvider() as CredentialProvider;
  // Not the default chain: where the profile gives nothing, it goes on to the role of the machine and forgets why.
  return memoize(
    fromIni({ profile, ignoreCache: true }),
    credentialsTreatedAsExpired,
    credentialsWillNeedRefresh,
  ) as CredentialProvider;
}

/** A blank or a line break that was copied along is said here, not by the lanes that sign with it. */
function checked(identity: Identity): Identity {
  for (const [name, value] of [
    ['access key id', identity.accessKeyId],
    ['session token', identity.sessionToken ?? ''],
  ] as const) {
    if (!isHeaderSafe(value))
      throw new CredentialsProviderError(`the ${name} contains a blank or another character that no header carries`, {
        tryNextLink: false,
      });
  }
  return identity;
}

export function isSigned(entry: UfsEntry): boolean {
  return entry.anonymous !== true || entry.accessKeyId !== undefined;
}

/** Client and endpoint of one bucket, in the region where the bucket is. One HEAD where that must be found out. */
export async function openBucket(options: {
  bucket: string;
  entry: UfsEntry;
  provider: CredentialProvider;
  timeouts: OriginTimeouts;
  retry: OriginRetry;
  /** Waited for before each request, those included by which the SDK tries again. */
  admit?: () => Promise<void>;
  /** Told of each of those. */
  watch?: RequestWatch;
  /** In place of the SDK's own transport. */
  requestHandler?: S3ClientConfig['requestHandler'];
}): Promise<Bucket> {
  const { bucket } = options;
  const endpointUrl = options.entry.endpoint ?? (await endpointOfProfile(options.entry.profile));
  const entry = { ...options.entry, ...(endpointUrl !== undefined && { endpoint: endpointUrl }) };
  const signed = isSigned(entry);
  const caPem = readCa(entry);
  const make = (region: string | undefined, forcePathStyle: boolean): S3Client => {
    const made = new S3Client(clientConfig({ ...options, entry, signed, caPem, region, forcePathStyle }));
    const { admit, watch } = options;
    // Inside of the SDK's own retries, and before the signature, which has a time in it.
    made.middlewareStack.addRelativeTo(
      <Args, Result extends { response: unknown }>(
        next: (args: Args) => Promise<Result>,
        { commandName }: { commandName?: string },
      ) => {
        const operation = operationOfCommand(commandName);
        let attempts = 0;
        return async (args: Args): Promise<Result> => {
          if (admit !== undefined) await heldBack(admit());
          if (attempts > 0) watch?.retried(operation);
          attempts += 1;
          const statusOf = ({ response }: Result) => (response as { statusCode?: number } | undefined)?.statusCode;
          return watchedRequest(watch, operation, { send: () => next(args), statusOf });
        };
      },
      { relation: 'after', toMiddleware: 'retryMiddleware', name: 'primedAdmitsRequest' },
    );
    return made;
  };

  let client = make(entry.region, entry.pathStyle ?? false);
  let url = await builtRequest(client, bucket);
  let forcePathStyle = entry.pathStyle ?? false;
  const amazon = /(^|\.)amazonaws\.com(\.cn)?$/.test(url.hostname);
  if (!amazon && entry.pathStyle === undefined) {
    // Other servers seldom have a DNS name for each bucket.
    forcePathStyle = true;
    client.destroy();
    client = make(entry.region, forcePathStyle);
    url = await builtRequest(client, bucket);
  }
  let region = await client.config.region();
  if (amazon) {
    const home = await regionOfBucket(client, bucket);
    if (home !== undefined && home !== region) {
      region = home;
      client.destroy();
      client = make(region, forcePathStyle);
      url = await builtRequest(client, bucket);
    }
  }
  const tls = url.protocol === 'https:';
  const port = url.port ?? (tls ? 443 : 80);
  const standardPort = port === (tls ? 443 : 80);
  return {
    client,
    signed,
    endpoint: {
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port,
      tls,
      hostHeader: standardPort ? url.hostname : `${url.hostname}:${port}`,
      pathPrefix: url.path.slice(0, -`/${probeKey}`.length),
      // Amazon's own endpoints are left to the SDK, whose redirects between regions need that.
      ...(!amazon && {
        endpoint: `${url.protocol}//${url.hostname}:${port}${endpointPath(url.path, bucket, forcePathStyle)}`,
      }),
      region,
      forcePathStyle,
      ...(caPem !== undefined && { caPem }),
    },
  };
}

function endpointPath(path: string, bucket: string, forcePathStyle: boolean): string {
  const prefix = path.slice(0, -`/${probeKey}`.length);
  return forcePathStyle ? prefix.slice(0, prefix.length - bucket.length - 1) : prefix;
}

function readCa(entry: UfsEntry): string | undefined {
  const file = entry.caFile ?? (process.env.AWS_CA_BUNDLE || undefined);
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new PrimedError(
      'CONFIG_INVALID',
      `the CA bundle of ${entry.prefix} cannot be read: ${(error as Error).message}`,
      { file },
      { cause: error },
    );
  }
}

function clientConfig(options: {
  entry: UfsEntry;
  provider: CredentialProvider;
  timeouts: OriginTimeouts;
  retry: OriginRetry;
  signed: boolean;
  caPem: string | undefined;
  region: string | undefined;
  forcePathStyle: boolean;
  requestHandler?: S3ClientConfig['requestHandler'];
}): S3ClientConfig {
  const { entry, timeouts, caPem } = options;
  // AWS_DEFAULT_REGION is the aws-cli's; the SDK does not read it. A region may also come from a profile.
  const fromEnvironment = process.env.AWS_REGION || process.env.AWS_DEFAULT_REGION || undefined;
  const region = options.region ?? fromEnvironment ?? (() => regionOfProfile(entry.profile));
  return {
    region,
    ...(entry.endpoint !== undefined && { endpoint: entry.endpoint }),
    // The SDK would take the endpoint of the default profile, whichever this one is.
    ...(entry.profile !== undefined && { profile: entry.profile, ignoreConfiguredEndpointUrls: true }),
    forcePathStyle: options.forcePathStyle,
    followRegionRedirects: true,
    // Asked at each request: it may have changed.
    maxAttempts: () => Promise.resolve(options.retry.attempts),
    retryMode: 'standard',
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Never looked up for a bucket that takes no signature: there may be none.
    credentials: (options.signed ? options.provider : noCredentials) as NonNullable<S3ClientConfig['credentials']>,
    requestHandler: options.requestHandler ?? {
      connectionTimeout: timeouts.connectMs,
      requestTimeout: timeouts.firstByteMs + timeouts.stallMs,
      throwOnRequestTimeout: true,
      socketTimeout: timeouts.stallMs,
      httpAgent: { keepAlive: true, maxSockets: 64 },
      httpsAgent: { keepAlive: true, maxSockets: 64, ...(caPem !== undefined && { ca: caPem }) },
    },
    ...(!options.signed && { signer: { sign: (request) => Promise.resolve(request) } }),
  };
}

/** The SDK's own look-up; without any region every request would fail before it is sent. */
async function regionOfProfile(profile: string | undefined): Promise<string> {
  const probe = new S3Client({ ...(profile !== undefined && { profile }) });
  try {
    return await probe.config.region();
  } catch {
    return fallbackRegion;
  } finally {
    probe.destroy();
  }
}

interface BuiltRequest {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
}

/** What the SDK would send for one GET, unsigned and not sent. */
async function builtRequest(client: S3Client, bucket: string): Promise<BuiltRequest> {
  const command = new GetObjectCommand({ Bucket: bucket, Key: probeKey });
  let built: BuiltRequest | undefined;
  command.middlewareStack.add(
    () => (args) => {
      built = args.request as BuiltRequest;
      return Promise.resolve({ output: { $metadata: {} }, response: {} }) as never;
    },
    { step: 'build', priority: 'low', name: 'primedTakesRequest' },
  );
  await client.send(command);
  if (built === undefined)
    throw new PrimedError('INTERNAL', `the AWS SDK built no request for bucket ${bucket}`, { bucket });
  return built;
}

/** Amazon says the region of a bucket even with a refusal or a redirect; undefined when it does not. */
async function regionOfBucket(client: S3Client, bucket: string): Promise<string | undefined> {
  try {
    return (await client.send(new HeadBucketCommand({ Bucket: bucket }))).BucketRegion;
  } catch (error) {
    const { $response } = error as { $response?: { headers?: Record<string, string> } };
    const region = $response?.headers?.['x-amz-bucket-region'];
    if (region !== undefined) return region;
    throw error;
  }
}
