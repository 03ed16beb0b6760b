// The public GraphQL API, which is all that the explorer knows.

const ENDPOINT = '/graphql';
/** How long to wait before a stream that broke is tried again: doubled each time, up to the second. */
const AGAIN_MS = [1000, 60000];

/** What the bar shows, for every screen to ask along with its own: one request for a view. */
export const BAR = `
  latest: events(last: 1, asOf: $asOf) { nodes { position recordedAt } }
  policies(asOf: $asOf) { id name description inForce projected }
`;

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
    const response = await fetch(address(query, variables), { headers: { accept: 'application/json' }, signal });
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

/**
 * Follows a subscription until the function that is returned is called. It goes on where it was after any break:
 * the browser repeats the last id by itself, and a stream begun anew asks for what is `after` it.
 * @param {{next: (data: object) => void, connected: (is: boolean) => void}} on
 */
export function stream(query, variables, { next, connected }) {
  let source;
  let timer;
  let wait = AGAIN_MS[0];
  let after = variables.after;

  function open() {
    source = new EventSource(address(query, { ...variables, after }));
    source.addEventListener('open', () => connected(true));
    source.addEventListener('next', (event) => {
      const { data, errors } = JSON.parse(event.data);
      if (errors) return again();
      if (event.lastEventId) after = typeof after === 'number' ? Number(event.lastEventId) : event.lastEventId;
      wait = AGAIN_MS[0];
      next(data);
    });
    source.addEventListener('complete', again);
    source.addEventListener('error', () => {
      connected(false);
      // Otherwise the browser tries again by itself.
      if (source.readyState === EventSource.CLOSED) again();
    });
  }

  function again() {
    connected(false);
    source.close();
    clearTimeout(timer);
    timer = setTimeout(open, wait);
    wait = Math.min(2 * wait, AGAIN_MS[1]);
  }

  open();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}

function address(query, variables) {
  const params = { query: query.replace(/\s+/g, ' ').trim() };
  if (Object.keys(variables).length) params.variables = JSON.stringify(variables);
  return `${ENDPOINT}?${new URLSearchParams(params)}`;
}
