/** `primed worker …`: without a verb behind it the daemon of that name, where one is registered; else verbs about workers. */
import type { PrimedClient } from '../client/client.ts';
import type { WorkerInfo } from '../client/types.ts';
import type { RegisterVerb } from './context.ts';
import { addAsking } from './verb.ts';
import { registerWorkerList } from './worker-list.ts';

export const registerWorker: RegisterVerb = (program, context) => {
  const worker =
    program.commands.find((command) => command.name() === 'worker') ??
    program.command('worker').description('list and drain workers');
  registerWorkerList(worker, context);
  // Where it is a daemon too, a word behind it that is no verb is an argument too many.
  worker.allowExcessArguments().hook('preAction', (_worker, acting) => {
    const [word] = acting === worker ? worker.args : [];
    if (word === undefined) return;
    const verbs = worker.commands
      .map((command) => command.name())
      .filter((name) => name !== 'help')
      .join(', ');
    worker.error(`error: unknown command '${word}' of worker: ${verbs}; nothing runs the daemon`);
  });

  /** A verb about one worker that answers one line. */
  const verb = <A>(
    name: string,
    description: string,
    act: { ask: (client: PrimedClient, id: string) => Promise<A>; text: (answer: A) => string },
  ): void => {
    addAsking(worker, context, {
      name,
      description,
      operands: [['<id>', 'as `primed worker list` shows it']],
      examples: [`primed worker ${name} node-7`],
      ask: (client, _flags, id: string) => act.ask(client, id),
      text: (answer) => `${act.text(answer)}\n`,
    });
  };
  verb('drain', 'give a worker no new segments; it keeps and serves what it has', {
    ask: (client, id) => client.drainWorker(id),
    text: afterDrain,
  });
  verb('undrain', 'give a worker new segments again', {
    ask: (client, id) => client.undrainWorker(id),
    text: afterUndrain,
  });
  verb('remove', 'forget a worker until it registers again', {
    ask: async (client, id) => {
      await client.removeWorker(id);
      return { id, removed: true };
    },
    text: ({ id }) => `Worker '${id}' is forgotten until it registers again.`,
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
