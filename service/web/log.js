// The log: every event as it came, newest first, and a slider through all of time.

import { HAPPENED, Step } from './events.js';
import { BAR } from './graphql.js';
import { html, useEffect, useRef, useState } from './html.js';
import { Empty, Pager, pageOf, When } from './parts.js';
import { asOf, changed, claimLink, eventLink, go, link, submitted } from './place.js';
import { Source } from './statement.js';

const PAGE = 25;
const MOVED = 3;
/** How long the slider rests before the record is asked for. */
const REST_MS = 250;

export const query = `query Log(
  $asOf: AsOf, $types: [EventType!], $policy: ID, $first: Int, $after: String, $last: Int, $before: String
) {
  ${BAR}
  log { head projected stoppedAt because origin checkpoint { treeSize signedAt } }
  events(types: $types, asOf: $asOf, first: $first, after: $after, last: $last, before: $before) {
    nodes {
      position type recordedAt actor reason
      article { url headline language revision outlet { name } }
      transitions(policy: $policy, first: ${MOVED}) { nodes { cursor slug from to } pageInfo { hasNextPage } }
    }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}`;

/** The API lists events oldest first; whoever looks wants the newest. So what it has after is before here. */
const TURNED = ['before', 'after'];

export function variables(place) {
  const { first, after, last, before } = pageOf(place.params, PAGE, TURNED);
  const types = place.params.get('type');
  return {
    asOf: asOf(place),
    policy: place.policy,
    types: Object.hasOwn(HAPPENED, types) ? [types] : null,
    first: last,
    after: before,
    last: first,
    before: after,
  };
}

export const title = () => 'Log';

export function Screen({ data, place }) {
  const { events, log, latest } = data;
  const { hasNextPage, hasPreviousPage, startCursor, endCursor } = events.pageInfo;
  const pageInfo = {
    hasPreviousPage: hasNextPage,
    hasNextPage: hasPreviousPage,
    startCursor: endCursor,
    endCursor: startCursor,
  };
  return html`
    <h1>The log</h1>
    <p class="lead">Everything that was recorded, in the order in which it came. Nothing is changed or taken out;
      whatever is mended is another event.</p>
    <${Slider} position=${latest.nodes[0]?.position ?? 0} head=${log.projected} />
    <${Standing} log=${log} />
    <${Types} place=${place} />
    ${events.nodes.length > 0 ? html`<${Table} events=${events.nodes.toReversed()} />` : html`<${Nothing} place=${place} />`}
    <${Pager} pageInfo=${pageInfo} label="Pages of events" names=${TURNED} />
  `;
}

/** Takes the whole explorer to another position: the last is live. */
function Slider({ position, head }) {
  const [value, setValue] = useState(position);
  const timer = useRef(null);
  useEffect(() => {
    // While it is still being moved it shows where to, not where the last answer was from.
    if (timer.current === null) setValue(position);
  }, [position]);
  useEffect(() => () => clearTimeout(timer.current), []);

  function moved(event) {
    const to = Number(event.currentTarget.value);
    setValue(to);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      timer.current = null;
      go(changed({ at: to === head ? null : to }), { replace: true });
    }, REST_MS);
  }

  if (head < 2) return null;
  return html`<div class="slider">
    <label for="through-time">Through time</label>
    <input id="through-time" type="range" min="1" max=${head} step="1" value=${value} onInput=${moved}
      aria-valuetext=${value === head ? `position ${value}, live` : `position ${value} of ${head}`} />
    <output for="through-time"><strong>Position ${value}</strong>${value === head ? ', live' : ` of ${head}`}</output>
  </div>`;
}

/** How far the log is projected and signed. */
function Standing({ log: { head, projected, stoppedAt, because, origin, checkpoint } }) {
  return html`
    ${stoppedAt !== null && html`<p class="notice" role="alert">Beliefs stand still before
      position <a href=${link(`/log/${stoppedAt}`)}>${stoppedAt}</a>: ${because}</p>`}
    <p class="small muted">${projected < head && `Beliefs hold as of position ${projected} of ${head}. `}${checkpoint
      ? html`Signed up to position ${checkpoint.treeSize} as <code>${origin}</code>, <${When} at=${checkpoint.signedAt} />.`
      : 'Nothing is signed yet.'}</p>
  `;
}

function Types({ place }) {
  const type = place.params.get('type') ?? '';
  return html`<form class="row types" key=${type} action="/log" onSubmit=${submitted} aria-label="Which events">
    <label>Events
      <select name="type" value=${type}>
        <option value="">of all types</option>
        ${Object.entries(HAPPENED).map(([name, word]) => html`<option key=${name} value=${name}>${word}</option>`)}
      </select></label>
    <button class="button" type="submit">Filter</button>
  </form>`;
}

function Table({ events }) {
  return html`<table class="list log">
    <caption>Events, newest first</caption>
    <thead>
      <tr>
        <th scope="col">Position</th>
        <th scope="col">What happened</th>
        <th scope="col">Beliefs moved</th>
        <th scope="col">Recorded</th>
        <th scope="col">By</th>
      </tr>
    </thead>
    <tbody>${events.map((event) => html`<${Row} key=${event.position} event=${event} />`)}</tbody>
  </table>`;
}

function Row({ event: { position, type, recordedAt, actor, reason, article, transitions } }) {
  const moved = transitions.nodes.length > 0;
  return html`<tr>
    <th scope="row" data-label="Position"><a class="number" href=${eventLink(position)}>${position}</a></th>
    <td>
      <a class="happened" href=${eventLink(position)}>${HAPPENED[type]}</a>
      ${article?.revision > 1 && html` <span class="tag">revision ${article.revision}</span>`}
      ${article && html`<${Source} article=${article} quiet />`}
      ${reason && html`<span class="block muted small" dir="auto">${reason}</span>`}
    </td>
    <td data-label=${moved ? 'Beliefs moved' : undefined}>${moved && html`<ul class="effects">
      ${transitions.nodes.map(({ cursor, slug, from, to }) => html`<li key=${cursor}><${Step} from=${from} to=${to} />
        ${' '}<a class="quiet small" href=${claimLink(slug)}>${slug}</a></li>`)}
      ${transitions.pageInfo.hasNextPage &&
      html`<li class="small"><a class="quiet" href=${eventLink(position)}>and more</a></li>`}
    </ul>`}</td>
    <td data-label="Recorded" class="small"><${When} at=${recordedAt} seconds /></td>
    <td data-label="By" class="small" dir="auto">${actor}</td>
  </tr>`;
}

function Nothing({ place }) {
  if (place.params.get('type')) {
    return html`<${Empty} title="No event of this type is on record here.">
      <p><a href=${link('/log')}>See all events</a>.</p>
    <//>`;
  }
  return html`<${Empty} title="Nothing is on record ${place.at || place.said ? 'at this moment' : 'yet'}.">
    <p>The first article that is recorded will be at position 1.</p>
  <//>`;
}
