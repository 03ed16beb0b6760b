// The bar on every screen: at which moment of the record, under which policy, and what came since.

import { stream } from './graphql.js';
import { html, useEffect, useRef, useState } from './html.js';
import { count, When } from './parts.js';
import { changed, go, isPast } from './place.js';

const NEWS = 'subscription News($after: Position) { events(after: $after) { position } }';

/** The last entry of the record that an answer holds for; position 0 where there is none. */
const latestOf = (answer) => answer.data.latest.nodes[0] ?? { position: 0, recordedAt: null };

/**
 * How many events came since the answer, and whether we would know. Null answer: nobody asks.
 * A page that nobody looks at holds no connection: a browser has only six for a host.
 */
export function useNews(answer) {
  const [came, setCame] = useState({ since: null, to: 0 });
  const [lost, setLost] = useState(false);
  const [looked, setLooked] = useState(!document.hidden);
  const position = answer && latestOf(answer).position;

  useEffect(() => {
    const turned = () => setLooked(!document.hidden);
    document.addEventListener('visibilitychange', turned);
    return () => document.removeEventListener('visibilitychange', turned);
  }, []);
  useEffect(() => {
    if (position === null || !looked) return undefined;
    return stream(NEWS, { after: position }, {
      next: ({ events }) => setCame({ since: position, to: events.position }),
      connected: (is) => setLost(!is),
    });
  }, [position, looked]);
  return { number: came.since === position && position !== null ? came.to - position : 0, lost: position !== null && lost };
}

export function TimeBar({ place, answer, news, show }) {
  const past = isPast(place);
  const latest = answer && latestOf(answer);
  return html`<section class="bar" aria-label="Time and policy">
    <div class="wide row">
      <div class="when">
        <p>${past ? html`<${Past} place=${place} latest=${latest} />` : html`<${Live} latest=${latest} />`}</p>
        ${latest && html`<${Steps} place=${place} position=${latest.position} />`}
        ${past && html`<a class="button" href=${changed({ at: null, said: null })}>Back to live</a>`}
      </div>
      <div class="news" role="status">
        ${news.number > 0 && html`<button type="button" class="button fresh" onClick=${show}>${count(news.number, 'new event')}: show</button>`}
        ${news.number === 0 && news.lost && html`<span class="lost small">Not connected: trying again</span>`}
      </div>
      <${Policy} place=${place} policies=${answer?.data.policies} />
      <${Travel} place=${place} />
    </div>
  </section>`;
}

const Position = ({ of: { position, recordedAt } }) =>
  html`position ${position}${recordedAt && html`, <${When} at=${recordedAt} />`}`;

const Live = ({ latest }) => html`<strong class="live">Live</strong>${latest && html` · <${Position} of=${latest} />`}`;

function Past({ place: { at, said }, latest }) {
  // Where there is no answer, what was asked for may be no moment at all.
  if (!latest) return html`<strong>As of ${[at, said].filter(Boolean).join(', said by ')}</strong>`;
  const until = said && html`said by <${When} at=${said} />`;
  return at
    ? html`<strong>As of <${Position} of=${latest} /></strong>${until && html` · ${until}`}`
    : html`<strong>As ${until}</strong> · <${Position} of=${latest} />`;
}

/** One position back, and in the past one on. */
const Steps = ({ place, position }) => html`
  ${position > 1 && html`<a key="back" class="button step" href=${changed({ at: position - 1 })} aria-label="Position ${position - 1}">←</a>`}
  ${place.at && html`<a key="on" class="button step" href=${changed({ at: position + 1 })} aria-label="Position ${position + 1}">→</a>`}`;

/** Under which policy beliefs are shown. A policy that is not projected, or has parameters, comes by the URL. */
function Policy({ place, policies }) {
  const asked = place.policy ?? '';
  const projected = policies?.filter((policy) => policy.projected) ?? [];
  const inForce = policies?.find((policy) => policy.inForce);
  const listed = asked === '' || projected.some((policy) => policy.id === asked);
  return html`<label class="policy"><span class="policy-word">Policy</span>
    <select value=${asked} title=${(projected.find((policy) => policy.id === asked) ?? inForce)?.description}
      onChange=${(event) => go(changed({ policy: event.currentTarget.value }))}>
      <option value="">${inForce ? `${inForce.id} (in force)` : 'in force'}</option>
      ${projected.filter((policy) => !policy.inForce || policy.id === asked)
        .map((policy) => html`<option key=${policy.id} value=${policy.id}>${policy.id}</option>`)}
      ${!listed && html`<option value=${asked}>${asked}</option>`}
    </select>
  </label>`;
}

/** To another moment of the record. */
function Travel({ place }) {
  const details = useRef(null);
  const summary = useRef(null);
  const form = useRef(null);

  function close() {
    if (details.current.contains(document.activeElement)) summary.current.focus();
    details.current.open = false;
  }

  useEffect(() => {
    const pressed = ({ key }) => key === 'Escape' && details.current.open && close();
    document.addEventListener('keydown', pressed);
    return () => document.removeEventListener('keydown', pressed);
  }, []);
  useEffect(() => {
    close();
    form.current.reset();
  }, [place.href]);

  function travelled(event) {
    event.preventDefault();
    const given = new FormData(form.current);
    go(changed({ at: instant(given.get('recorded')) ?? given.get('at'), said: instant(given.get('said')) }));
  }

  const position = /^\d+$/.test(place.at ?? '') ? place.at : '';
  return html`<details class="travel" ref=${details}>
    <summary class="button" ref=${summary}>Go to a moment</summary>
    <form class="travel-form" ref=${form} onSubmit=${travelled}>
      <p class="small muted">What was known then: by position, or by the time it was recorded.</p>
      <div class="row fields">
        <label>Position <input name="at" type="number" min="0" step="1" inputmode="numeric" defaultValue=${position} /></label>
        <label>or recorded by <input name="recorded" type="datetime-local" step="1" defaultValue=${local(position ? null : place.at)} /></label>
      </div>
      <p class="small muted">Of what is known, only what was said by then.</p>
      <div class="row fields">
        <label>Said by <input name="said" type="datetime-local" step="1" defaultValue=${local(place.said)} /></label>
        <button class="button strong" type="submit">Go there</button>
      </div>
    </form>
  </details>`;
}

/** What a field for date and time holds, as an instant in UTC; null where it is empty. */
function instant(value) {
  return value ? new Date(value).toISOString().replace('.000Z', 'Z') : null;
}

/** An instant as a field for date and time takes it, on the reader's clock. A date ends with its day in UTC. */
function local(at) {
  if (!at) return '';
  const date = new Date(/^\d{4}-\d{2}-\d{2}$/.test(at) ? `${at}T23:59:59Z` : at);
  if (Number.isNaN(date.getTime())) return '';
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}
