/**
 * Whether an origin takes checksums behind bodies, and keeps them. It cannot be asked: there are servers that take the frames of
 * such a body for its content, and say nothing. So a part of a few bytes is uploaded in that way, of an upload that is given up
 * again: nothing of it is ever seen. Who answers with the very checksum has understood.
 */
import { crc32 } from 'node:zlib';
import type { PassedAnswer, PassedWrite } from '../core/passed-write.ts';

type Ask = Pick<PassedWrite, 'method' | 'query'> & Partial<PassedWrite>;

const checksumHeader = 'x-amz-checksum-crc32';
const content = Buffer.from('Does a checksum behind this body become one of the part?');
const mostAnswerBytes = 64 * 1024;

/**
 * @param send to a key that is about to be written, so that whoever writes it may do this too
 * Rejects where the origin did not answer, and with the signal's reason: then nothing is known.
 */
export async function takesTrailers(
  send: (write: PassedWrite) => Promise<PassedAnswer>,
  signal: AbortSignal,
): Promise<boolean> {
  const ask = async (what: Ask): Promise<{ answer: PassedAnswer; text: string }> => {
    const answer = await send({ headers: {}, body: nothing(), length: 0, signal, ...what });
    // It says something of its own state, and nothing of what it takes.
    const text = await textOf(answer);
    if (answer.status >= 500 || answer.status === 429) throw new Error(`the origin answers ${answer.status}`);
    return { answer, text };
  };
  const begun = await ask({
    ...{ method: 'POST', query: { uploads: '' } },
    headers: { 'x-amz-checksum-algorithm': 'CRC32' },
  });
  const uploadId = /<UploadId>([^<]{1,1024})<\/UploadId>/.exec(begun.text)?.[1];
  if (begun.answer.status !== 200 || uploadId === undefined) return false;
  try {
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(content));
    const value = sum.toString('base64');
    const { answer } = await ask({
      ...{ method: 'PUT', query: { partNumber: '1', uploadId } },
      ...{ body: only(content), length: content.length, trailer: { name: checksumHeader, value: () => value } },
    });
    return answer.status === 200 && answer.headers[checksumHeader] === value;
  } finally {
    await ask({ method: 'DELETE', query: { uploadId } }).catch(() => undefined);
  }
}

async function textOf({ body }: PassedAnswer): Promise<string> {
  let text = '';
  for await (const piece of body) {
    text += Buffer.from(piece).toString('latin1');
    if (text.length > mostAnswerBytes) break;
  }
  return text;
}

async function* only(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

async function* nothing(): AsyncGenerator<Buffer> {}
