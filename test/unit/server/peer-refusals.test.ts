/** Who does not show that it is a node of the cluster: refused at every route between workers, with one line in the log. */
import Fastify from 'fastify';
import { expect, it } from 'vitest';
import { Refusals } from '../../../src/cluster/wire/refusals.ts';
import { installErrorHandler } from '../../../src/server/errors.ts';
import { peerData } from '../../../src/server/peer-data.ts';
import { peerFiles } from '../../../src/server/peer-files.ts';
import { peerFollow } from '../../../src/server/peer-follow.ts';
import { peerRefusals } from '../../../src/server/peer-request.ts';
import { silent } from '../../support/silent.ts';
import { memoryLog } from '../../support/store-fixture.ts';

it.each([
  ['GET', '/internal/v1/data/s3://b/k'],
  ['GET', '/internal/v1/landed/s3://b/k'],
  ['GET', '/internal/v1/stat/s3://b/k'],
  ['GET', '/internal/v1/list?root=s3://b/'],
  ['POST', '/internal/v1/check?path=s3://b/'],
] as const)('%s %s answers 401, and is logged once', async (method, url) => {
  const app = Fastify();
  installErrorHandler(app, silent);
  const log = memoryLog();
  // Nothing of these is looked at before the token.
  const options = { store: {}, landings: {}, source: {}, names: {}, log, clusterToken: 'x', refusals: peerRefusals() };
  for (const plugin of [peerData, peerFollow, peerFiles]) app.register(plugin as never, options as never);
  for (const authorization of ['', 'Bearer wrong', 'Bearer wrong']) {
    const answer = await app.inject({ method, url, headers: { authorization } });
    expect(answer.statusCode).toBe(401);
  }
  const refused = log.lines.filter(({ message }) => message === 'another node is refused');
  expect(refused).toMatchObject([{ facts: { from: '127.0.0.1', code: 'UNAUTHENTICATED' } }]);
  await app.close();
});

it('a refusal is news once for each reason, until who was refused is accepted', () => {
  const refusals = new Refusals();
  const news = (why: string) => refusals.isNews('a', why);
  expect([news('401'), news('401'), news('409'), news('401'), refusals.isNews('b', '401')]).toEqual([
    ...[true, false, true, false, true],
  ]);
  refusals.accepted('a');
  expect([news('401'), refusals.isNews('b', '401')]).toEqual([true, false]);
  const patient = peerRefusals();
  patient.isNews('a', '401');
  patient.accepted('a');
  expect(patient.isNews('a', '401')).toBe(false);
});
