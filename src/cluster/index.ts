/** cluster: the coordinator's side. See types.ts. */
export { type JobServiceOptions, openJobService } from './job-service.ts';
export { defaultJobServiceSettings, type JobServiceSettings } from './settings.ts';
export { soloFleet } from './solo-fleet.ts';
export type { JobService, SubmitResult } from './types.ts';
