/** A real S3 server for the integration tests: radosgw on loopback, with its data in memory. */
import { type RadosgwOrigin, startRadosgw as start } from '../../bench/origins/radosgw.ts';
import { openWorkspace } from '../../bench/support/workspace.ts';
import { temporaryFolder } from './files.ts';

export interface RealServer {
  readonly endpoint: string;
  /** Environment with which the AWS SDK, aws-cli and the daemon find it. */
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/** About 15 s. A machine without the programs is an error that names them: a test against nothing proves nothing. */
export async function startRadosgw(): Promise<RealServer> {
  const folder = temporaryFolder('radosgw');
  const workspace = openWorkspace(folder.path);
  const close = async () => {
    await workspace.close();
    folder.remove();
  };
  let server: RadosgwOrigin | undefined;
  try {
    server = await start(workspace, []);
  } catch (error) {
    await close();
    throw error;
  }
  if (server === undefined) {
    await close();
    throw new Error(
      'radosgw is not installed (Debian: apt install radosgw ceph-mon ceph-osd ceph-common curl); .ci/run does it',
    );
  }
  const { endpoint, accessKeyId = '', secretAccessKey = '' } = server.settings;
  return {
    endpoint,
    env: {
      AWS_ENDPOINT_URL: endpoint,
      AWS_REGION: 'us-east-1',
      AWS_DEFAULT_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_CONFIG_FILE: '/dev/null',
      AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
    },
    close,
  };
}
