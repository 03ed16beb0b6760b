// GraphiQL on this service's own API, with examples to begin from.

import { EXAMPLES } from './examples.js';
import { given, source } from './graphql.js';

const { GraphiQL, React, ReactDOM } = window;

/** What GraphiQL asks by: a subscription is streamed by Server-Sent Events, anything else is one answer. */
function fetcher({ query, variables, operationName }, { documentAST, headers } = {}) {
  const operations = (documentAST?.definitions ?? []).filter((each) => each.kind === 'OperationDefinition');
  const asked = operations.find((each) => !operationName || each.name?.value === operationName);
  if (asked?.operation === 'subscription') return streamed({ query, variables, operationName }, headers);
  return answered({ query, variables, operationName }, headers);
}

async function answered(request, headers) {
  const answer = await fetch('/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json', ...sent(headers) },
    body: JSON.stringify(request),
  });
  return answer.json();
}

/** The headers to send: the token that was given to the explorer, unless other headers are written here. */
const sent = (headers) => ({
  ...given.headers,
  ...Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), value])),
});

/** The answers of a subscription as GraphiQL observes them, until it is stopped. */
function streamed({ query, variables, operationName }, headers) {
  const parameters = new URLSearchParams({ query });
  if (variables) parameters.set('variables', JSON.stringify(variables));
  if (operationName) parameters.set('operationName', operationName);
  return {
    subscribe({ next, error, complete }) {
      const from = source(`/graphql?${parameters}`, sent(headers));
      from.addEventListener('next', (event) => next(JSON.parse(event.data)));
      from.addEventListener('complete', () => {
        from.close();
        complete();
      });
      from.addEventListener('error', () => {
        // Where it can go on, the browser connects again by itself, from the last event that arrived.
        if (from.readyState === EventSource.CLOSED) error(new Error('The stream was refused or has ended.'));
      });
      return { unsubscribe: () => from.close() };
    },
  };
}

const { createElement } = React;
const back = createElement('a', { href: '/' }, 'Onrecord');
ReactDOM.createRoot(document.getElementById('graphiql')).render(
  createElement(
    GraphiQL,
    {
      fetcher,
      defaultTabs: EXAMPLES.map((query) => ({ query })),
      defaultEditorToolsVisibility: false,
      shouldPersistHeaders: false,
    },
    createElement(GraphiQL.Logo, null, back),
  ),
);
