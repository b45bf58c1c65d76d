/** cluster: the coordinator's side. See types.ts. */
export { type JobServiceOptions, openJobService } from './job-service.ts';
export { openRegistrar, type Registrar, type RegistrarOptions } from './registrar.ts';
export { openRegistry, type Registry, type RegistryOptions } from './registry.ts';
export { defaultJobServiceSettings, type JobServiceSettings } from './settings.ts';
export { soloFleet } from './solo-fleet.ts';
export type { JobService, SubmitResult } from './types.ts';
