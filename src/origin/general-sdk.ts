/**
 * What the general way takes from the SDK, as a file of its own that it imports when it is first needed: `import()` of
 * the package itself has, once bundled, nothing but its `default`.
 */
export { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
