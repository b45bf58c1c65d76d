/** `primed worker …`: without a verb behind it the daemon of that name, where one is registered; else verbs about workers. */
import type { PrimedClient } from '../client/client.ts';
import type { WorkerInfo } from '../client/types.ts';
import { type ClientOptions, coordinatorOption, type RegisterVerb, runs, withClient } from './context.ts';
import { exitCodes } from './exit.ts';
import { registerWorkerList } from './worker-list.ts';

export const registerWorker: RegisterVerb = (program, context) => {
  const worker =
    program.commands.find((command) => command.name() === 'worker') ??
    program.command('worker').description('list and drain workers');
  registerWorkerList(worker, context);

  /** A verb about one worker that answers one line. */
  const verb = (
    name: string,
    description: string,
    act: (client: PrimedClient, id: string) => Promise<string>,
  ): void => {
    const command = worker.command(name).description(description).argument('<id>', 'as `primed worker list` shows it');
    coordinatorOption(command);
    runs(command, context, async (id: string, flags: ClientOptions) => {
      context.io.stdout.write(`${await withClient(context, flags, (client) => act(client, id))}\n`);
      return exitCodes.done;
    });
  };
  verb('drain', 'give a worker no new segments; it keeps and serves what it has', async (client, id) =>
    afterDrain(await client.drainWorker(id)),
  );
  verb('undrain', 'give a worker new segments again', async (client, id) =>
    afterUndrain(await client.undrainWorker(id)),
  );
  verb('remove', 'forget a worker until it registers again', async (client, id) => {
    await client.removeWorker(id);
    return `Worker '${id}' is forgotten until it registers again.`;
  });
};

function afterDrain({ id, state }: WorkerInfo): string {
  if (state === 'LOST') return `Worker '${id}' is lost; when it comes back, it will get no new segments.`;
  return `Worker '${id}' drains: it keeps and serves what it has, and gets no new segments.`;
}

function afterUndrain({ id, state }: WorkerInfo): string {
  if (state === 'LOST') return `Worker '${id}' is lost; when it comes back, it will get new segments.`;
  return `Worker '${id}' gets new segments again.`;
}
