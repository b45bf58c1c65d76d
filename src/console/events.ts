/** Server-sent events out of a stream of text, piece by piece. EventSource would do it, but cannot send a token. Pure. */

export interface ServerEvent {
  /** `message` where the server names none. */
  readonly name: string;
  readonly data: string;
}

/** Of one event. The largest is all rows at once: 2,000 jobs and as many workers are some 2 MB. */
const mostCharacters = 64 * 1024 * 1024;

export class EventReader {
  readonly #most: number;
  #rest = '';
  #name = '';
  #data: string[] = [];
  #size = 0;

  constructor(most = mostCharacters) {
    this.#most = most;
  }

  /** The events that are whole with this piece; comments are left out. Throws where an event does not end. */
  read(piece: string): ServerEvent[] {
    const lines = (this.#rest + piece).split('\n');
    this.#rest = lines.pop()!;
    const events: ServerEvent[] = [];
    for (const line of lines) {
      const event = this.#line(line.endsWith('\r') ? line.slice(0, -1) : line);
      if (event !== undefined) events.push(event);
    }
    if (this.#size + this.#rest.length > this.#most) throw new Error('The coordinator sends an event without an end.');
    return events;
  }

  #line(line: string): ServerEvent | undefined {
    if (line === '') {
      const event =
        this.#data.length === 0 ? undefined : { name: this.#name || 'message', data: this.#data.join('\n') };
      [this.#name, this.#data, this.#size] = ['', [], 0];
      return event;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'event') this.#name = value;
    if (field === 'data') {
      this.#data.push(value);
      this.#size += value.length;
    }
    return undefined;
  }
}
