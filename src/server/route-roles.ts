/**
 * Which role each route asks for, and what the audit log calls the calls that change something. A route that is not here
 * asks for `admin`; a test holds the table against the routes that there are.
 */
import type { TokenRole } from '../core/roles.ts';

export interface RouteRole {
  readonly role: TokenRole;
  /** Undefined: it changes nothing, and is not audited. */
  readonly action?: string;
}

const read: RouteRole = { role: 'read' };
const submit = (action: string): RouteRole => ({ role: 'submit', action });
const admin = (action: string): RouteRole => ({ role: 'admin', action });
const master = '/api/v1/master';

const table: Readonly<Record<string, RouteRole>> = {
  'GET /metrics': read,
  'GET /openapi.json': read,
  'GET /health/live': read,
  'GET /health/ready': read,
  // the console; its files are for everybody
  'GET /': read,
  ...Object.fromEntries(['', '/', '/app.js', '/style.css', '/icon.svg'].map((file) => [`GET /console${file}`, read])),
  'GET /api/v1/console/feed': read,
  'GET /api/v1/console/rates': read,
  // jobs
  [`POST ${master}/submit_job/load`]: submit('submit load'),
  [`POST ${master}/stop_job/load`]: submit('stop load'),
  [`POST ${master}/limit_job/load`]: submit('limit load'),
  // It costs the origin a listing.
  [`POST ${master}/plan_job/load`]: submit('plan load'),
  [`POST ${master}/retry_job/load`]: submit('retry load'),
  [`GET ${master}/progress_job/load`]: read,
  [`POST ${master}/progress_job/load`]: read,
  [`GET ${master}/list_job`]: read,
  [`POST ${master}/list_job`]: read,
  'POST /api/v1/load': submit('submit load'),
  'GET /api/v1/load': read,
  'DELETE /api/v1/load': submit('stop load'),
  // What they do depends on their fields: submit and stop ask for more, and are audited there.
  'GET /v1/load': read,
  'POST /v1/load': read,
  [`POST ${master}/submit_job/free`]: admin('submit free'),
  [`POST ${master}/stop_job/free`]: admin('stop free'),
  [`GET ${master}/progress_job/free`]: read,
  [`POST ${master}/progress_job/free`]: read,
  // files
  'GET /api/v1/fs/ls': read,
  'GET /api/v1/fs/stat': read,
  'GET /api/v1/fs/cat': read,
  'GET /api/v1/fs/why': read,
  'POST /api/v1/fs/check': submit('check'),
  'GET /api/v1/pins': read,
  'PUT /api/v1/pins': admin('pin'),
  'POST /api/v1/pins': admin('pin'),
  'DELETE /api/v1/pins': admin('unpin'),
  // The page API reads; what would write is answered 405 to everybody.
  ...Object.fromEntries(
    [
      ...[
        'files',
        'info',
        'node',
        'ufsInfo',
        'file/:id/page/:page',
        'range/:id',
        'chunk/:id',
        'head/:id',
        'tail/:id',
      ].map((page) => `GET /v1/${page}`),
      ...['file/:id/page/:page', 'chunk/:id', 'mkdir/:id', 'touch/:id', 'rm/:id', 'mv/:id', 'copy/:id'].map(
        (page) => `POST /v1/${page}`,
      ),
    ].map((route) => [route, read]),
  ),
  // workers and origins
  'GET /api/v1/workers': read,
  'POST /api/v1/workers/:id/drain': admin('drain'),
  'POST /api/v1/workers/:id/undrain': admin('undrain'),
  'DELETE /api/v1/workers/:id': admin('remove worker'),
  'GET /api/v1/ufs': read,
  'PUT /api/v1/ufs/limit': admin('limit origin'),
  'POST /api/v1/ufs/limit': admin('limit origin'),
};

export function roleOfRoute(method: string, url: string): RouteRole | undefined {
  return table[`${method === 'HEAD' ? 'GET' : method} ${url}`];
}
