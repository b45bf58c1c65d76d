/** What AWS's environment and configuration files say of the S3 endpoint of one profile. */
import { loadSharedConfigFiles } from '@smithy/core/config';
import { PrimedError } from '../core/errors.ts';

/**
 * The endpoint that is configured for a named profile; undefined: Amazon's own, or no profile. The order is that of
 * "Service-specific endpoints" in the AWS SDKs and Tools Reference Guide; the SDK itself reads only the profile of the
 * process here (AWS_PROFILE, or `default`). Throws CONFIG_INVALID when the profile names a services section that is not
 * there.
 */
export async function endpointOfProfile(profile: string | undefined): Promise<string | undefined> {
  if (profile === undefined) return undefined;
  const { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL } = process.env;
  if (AWS_IGNORE_CONFIGURED_ENDPOINT_URLS === 'true') return undefined;
  const ofEnvironment = AWS_ENDPOINT_URL_S3 || AWS_ENDPOINT_URL;
  if (ofEnvironment) return ofEnvironment;
  const { configFile, credentialsFile } = await loadSharedConfigFiles({ ignoreCache: true });
  const settings = { ...credentialsFile[profile], ...configFile[profile] };
  if (settings.ignore_configured_endpoint_urls === 'true') return undefined;
  const { services } = settings;
  const section = services === undefined ? {} : configFile[`services.${services}`];
  if (section === undefined) {
    throw new PrimedError(
      'CONFIG_INVALID',
      `the profile ${profile} names the services section ${services}, which the AWS configuration file does not have`,
      { profile, services },
    );
  }
  return section['s3.endpoint_url'] || settings.endpoint_url || undefined;
}
