// The public GraphQL API, which is all that the explorer knows.

const ENDPOINT = '/graphql';
/** How long to wait before a stream that broke is tried again: doubled each time, up to the second. */
const AGAIN_MS = [1000, 60000];

/** What the bar shows, for every screen to ask along with its own: one request for a view. */
export const BAR = `
  latest: events(last: 1, asOf: $asOf) { nodes { position recordedAt } }
  policies(asOf: $asOf) { id name description inForce projected }
`;

/** Where a record asks for a token, the one that the reader gave: kept for this tab, and gone with it. */
export const given = {
  get token() {
    return sessionStorage.getItem('token');
  },
  set token(token) {
    if (token) sessionStorage.setItem('token', token);
    else sessionStorage.removeItem('token');
  },
  get headers() {
    return this.token ? { authorization: `Bearer ${this.token}` } : {};
  },
};

/** Why there is no answer: a code for programs and a message for people. */
export class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Nobody answers. */
export const unreachable = () =>
  new Refused('UNREACHABLE', 'The service does not answer, or something between here and there does instead.');

/**
 * Asks once. A view that is wholly of a position is answered from the browser's cache the next time.
 * @returns {Promise<{data: object, log: {position: number, head?: number} | undefined}>}
 */
export async function ask(query, variables = {}, { signal } = {}) {
  let answer;
  try {
    const response = await fetch(address(query, variables), { headers: { accept: 'application/json', ...given.headers }, signal });
    answer = await response.json();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw unreachable();
  }
  if (answer.errors?.length) {
    const [{ message, extensions }] = answer.errors;
    throw new Refused(extensions?.code ?? 'REFUSED', message);
  }
  return { data: answer.data, log: answer.extensions?.log };
}

/** What sends the events of an address: an EventSource, unless there are headers to be sent, which that cannot. */
export const source = (address, headers) =>
  headers.authorization ? new HeadedSource(address, headers) : new EventSource(address);

/** As an EventSource, but for coming back by itself. */
class HeadedSource extends EventTarget {
  readyState = EventSource.CONNECTING;
  #stop = new AbortController();

  constructor(address, headers) {
    super();
    this.#read(address, { ...headers, accept: 'text/event-stream' }).catch(() => {}).then(() => {
      if (this.#stop.signal.aborted) return;
      this.readyState = EventSource.CLOSED;
      this.dispatchEvent(new Event('error'));
    });
  }

  close() {
    this.readyState = EventSource.CLOSED;
    this.#stop.abort();
  }

  async #read(address, headers) {
    const { ok, body } = await fetch(address, { headers, signal: this.#stop.signal });
    if (!ok) return;
    this.readyState = EventSource.OPEN;
    this.dispatchEvent(new Event('open'));
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const events = (rest + part.value).split('\n\n');
      rest = events.pop();
      events.forEach((event) => this.#tell(event));
    }
  }

  #tell(event) {
    const { event: kind, id, data } = Object.fromEntries(event.split('\n').map((line) => line.split(/: ?(.*)/s)));
    if (kind) this.dispatchEvent(new MessageEvent(kind, { data, lastEventId: id }));
  }
}

/**
 * Follows a subscription until the function that is returned is called. It goes on where it was after any break:
 * the browser repeats the last id by itself, and a stream begun anew asks for what is `after` it.
 * @param {{next: (data: object) => void, connected: (is: boolean) => void}} on
 */
export function stream(query, variables, { next, connected }) {
  let from;
  let timer;
  let wait = AGAIN_MS[0];
  let after = variables.after;

  function open() {
    from = source(address(query, { ...variables, after }), given.headers);
    from.addEventListener('open', () => connected(true));
    from.addEventListener('next', (event) => {
      const { data, errors } = JSON.parse(event.data);
      if (errors) return again();
      if (event.lastEventId) after = typeof after === 'number' ? Number(event.lastEventId) : event.lastEventId;
      wait = AGAIN_MS[0];
      next(data);
    });
    from.addEventListener('complete', again);
    from.addEventListener('error', () => {
      connected(false);
      // Otherwise the browser tries again by itself.
      if (from.readyState === EventSource.CLOSED) again();
    });
  }

  function again() {
    connected(false);
    from.close();
    clearTimeout(timer);
    timer = setTimeout(open, wait);
    wait = Math.min(2 * wait, AGAIN_MS[1]);
  }

  open();
  return () => {
    clearTimeout(timer);
    from.close();
  };
}

function address(query, variables) {
  const params = { query: query.replace(/\s+/g, ' ').trim() };
  if (Object.keys(variables).length) params.variables = JSON.stringify(variables);
  return `${ENDPOINT}?${new URLSearchParams(params)}`;
}
