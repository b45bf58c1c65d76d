/** The report of a job as an answer: TEXT or JSON, as the fields of the request say. */
import type { FastifyReply } from 'fastify';
import type { JobSnapshot } from '../core/job.ts';
import { booleanOf } from '../core/load-options.ts';
import { jsonReport, textReport } from '../core/report.ts';
import { wordOf } from './fields.ts';

export interface ReportFields {
  readonly format?: string;
  readonly verbose?: string | boolean;
}

/** Rejects with REQUEST_INVALID for a wrong field, else as `find`, which rejects when there is no such job. */
export async function answerReport(
  reply: FastifyReply,
  { format, verbose }: ReportFields,
  find: () => Promise<JobSnapshot>,
): Promise<FastifyReply> {
  const form = wordOf('format', format, ['TEXT', 'JSON']) ?? 'TEXT';
  const options = { verbose: verbose === undefined ? false : booleanOf('verbose', verbose) };
  const job = await find();
  if (form === 'JSON') return reply.type('application/json; charset=utf-8').send(jsonReport(job, options));
  return reply.type('text/plain; charset=utf-8').send(textReport(job, options));
}
