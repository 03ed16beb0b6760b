// All claims: what is asserted, denied and unverified, and how contested that is.

import { BAR } from './graphql.js';
import { html, useEffect, useRef } from './html.js';
import { count, Empty, hue, Pager, pageOf, Proposition, Shares, sign, StateChip, stateWord, Tally, When } from './parts.js';
import { asOf, changed, eventLink, link, submitted } from './place.js';

const PAGE = 25;

export const query = `query Claims(
  $asOf: AsOf, $where: ClaimFilter, $all: ClaimFilter, $contested: ClaimFilter, $policy: ID,
  $first: Int, $after: String, $last: Int, $before: String
) {
  ${BAR}
  claims(where: $where, asOf: $asOf, first: $first, after: $after, last: $last, before: $before) {
    nodes {
      slug proposition
      topic { slug }
      belief(policy: $policy) {
        state reason asserting denying withholding contested singleSpeaker
        since { position recordedAt effectiveAt }
      }
    }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    totalCount
  }
  all: claims(where: $all, asOf: $asOf, first: 1) { totalCount byState { asserted denied unverified } }
  contested: claims(where: $contested, asOf: $asOf, first: 1) { totalCount }
  topics(asOf: $asOf, first: 100) { nodes { slug } }
  speakers(asOf: $asOf, first: 100) { nodes { slug name } }
}`;

/** The filter that the URL holds. */
function filter({ params, policy }) {
  const where = {};
  if (policy) where.policy = policy;
  for (const name of ['state', 'topic', 'speaker', 'text']) if (params.get(name)) where[name] = params.get(name);
  if (where.state) where.state = where.state.toUpperCase();
  if (params.get('contested')) where.contested = params.get('contested') === 'yes';
  return where;
}

export function variables(place) {
  const where = filter(place);
  const { state, ...all } = where;
  return {
    asOf: asOf(place),
    where,
    all,
    contested: { ...all, contested: true },
    policy: place.policy,
    ...pageOf(place.params, PAGE),
  };
}

export const title = () => 'Claims';

export function Screen({ data, place }) {
  const { claims, all, contested } = data;
  const filtered = ['state', 'topic', 'speaker', 'text', 'contested'].some((name) => place.params.get(name));
  return html`
    <h1>What is claimed</h1>
    <${Summary} all=${all} contested=${contested.totalCount} place=${place} />
    <${Filters} data=${data} place=${place} filtered=${filtered} />
    ${claims.nodes.length > 0
      ? html`<${Table} claims=${claims} filtered=${filtered} place=${place} />
          <${Pager} pageInfo=${claims.pageInfo} label="Pages of claims" list="claims" />`
      : html`<${Nothing} filtered=${filtered} place=${place} />`}
  `;
}

/** How many claims have each state, as one bar and as links to them. */
function Summary({ all, contested, place }) {
  const states = ['ASSERTED', 'DENIED', 'UNVERIFIED'].map((state) => [state, all.byState[state.toLowerCase()]]);
  const now = place.params.get('state')?.toUpperCase();
  const chosen = (is) => (is ? 'true' : undefined);
  return html`<nav class="summary" aria-label="Claims by state">
    <ul class="counts">
      ${states.map(
        ([state, number]) => html`<li key=${state}>
          <a class="count ${hue(state)}" aria-current=${chosen(now === state)}
            href=${changed({ state: now === state ? null : state.toLowerCase() })}>
            <span class="number">${number.toLocaleString('en')}</span>
            <span><span aria-hidden="true">${sign(state)}</span> ${stateWord(state)}</span>
          </a>
        </li>`,
      )}
      <li>
        <a class="count" aria-current=${chosen(place.params.get('contested') === 'yes')}
          href=${changed({ contested: place.params.get('contested') === 'yes' ? null : 'yes' })}>
          <span class="number">${contested.toLocaleString('en')}</span>
          <span><span aria-hidden="true">⇄</span> Contested</span>
        </a>
      </li>
    </ul>
    <${Shares} of=${states.map(([state, number]) => [hue(state), number])} />
  </nav>`;
}

const CHOICES = {
  state: [['asserted', '+ asserted'], ['denied', '− denied'], ['unverified', '? unverified']],
  contested: [['yes', 'yes: some assert, some deny'], ['no', 'no']],
};

function Filters({ data, place, filtered }) {
  const form = useRef(null);
  // The fields say what is shown, whichever way it was come to; what is being typed is left alone.
  useEffect(() => form.current.reset(), [place.href]);
  const given = (name) => place.params.get(name)?.toLowerCase() ?? '';
  const choice = (name, any) => html`<select name=${name}>
    <option value="" defaultSelected=${!given(name)}>${any}</option>
    ${CHOICES[name].map(([value, words]) => html`<option key=${value} value=${value} defaultSelected=${given(name) === value}>${words}</option>`)}
  </select>`;
  return html`<form class="filters" role="search" aria-label="Claims" action="/" ref=${form} onSubmit=${submitted}>
    <label class="grow">Words in a proposition or quote
      <input type="search" name="text" dir="auto" defaultValue=${place.params.get('text') ?? ''} placeholder="withdraw or “not seen”" /></label>
    <label>State ${choice('state', 'any')}</label>
    <label>Topic
      <input name="topic" list="topics" autocomplete="off" spellcheck="false" defaultValue=${given('topic')} placeholder="any" /></label>
    <label>Speaker
      <input name="speaker" list="speakers" autocomplete="off" spellcheck="false" defaultValue=${given('speaker')} placeholder="anyone" /></label>
    <label>Contested ${choice('contested', 'either')}</label>
    <datalist id="topics">${data.topics.nodes.map(({ slug }) => html`<option key=${slug} value=${slug} />`)}</datalist>
    <datalist id="speakers">${data.speakers.nodes.map(({ slug, name }) => html`<option key=${slug} value=${slug}>${name}</option>`)}</datalist>
    <div class="row">
      <button class="button strong" type="submit">Filter</button>
      ${filtered && html`<a class="button" href=${link('/')}>Clear</a>`}
    </div>
  </form>`;
}

function Table({ claims, filtered, place }) {
  const caption = `${count(claims.totalCount, 'claim')}${filtered ? ' that the filter lets through' : ''}, the last to change first`;
  return html`<table class="list claims" id="claims">
    <caption>${caption}</caption>
    <thead>
      <tr>
        <th scope="col">State</th>
        <th scope="col">Proposition</th>
        <th scope="col">Topic</th>
        <th scope="col">Speakers</th>
        <th scope="col">Last change</th>
      </tr>
    </thead>
    <tbody>${claims.nodes.map((claim) => html`<${Row} key=${claim.slug} claim=${claim} />`)}</tbody>
  </table>`;
}

function Row({ claim }) {
  const { topic, belief } = claim;
  const { since } = belief;
  return html`<tr>
    <td data-label="State"><${StateChip} state=${belief.state} /></td>
    <th scope="row">
      <${Proposition} claim=${claim} />
      ${belief.contested && html`<span class="tag">contested</span>`}
      ${belief.singleSpeaker && html`<span class="tag">one speaker only</span>`}
    </th>
    <td data-label="Topic">${topic && html`<a class="quiet" href=${link('/', { topic: topic.slug })}>${topic.slug}</a>`}</td>
    <td data-label="Speakers"><${Tally} belief=${belief} /></td>
    <td data-label="Last change" class="small">
      ${since.effectiveAt ? 'said' : 'decided'} <${When} at=${since.effectiveAt ?? since.recordedAt} />
      <a class="quiet block" href=${eventLink(since.position)}>position ${since.position}</a>
    </td>
  </tr>`;
}

function Nothing({ filtered, place }) {
  if (filtered) {
    return html`<${Empty} title="No claim fits these filters.">
      <p>Take one away, or <a href=${link('/')}>see all claims</a>.</p>
    <//>`;
  }
  if (place.at || place.said) {
    return html`<${Empty} title="Nothing was on record then.">
      <p>Choose a later moment, or go <a href="/">back to live</a>.</p>
    <//>`;
  }
  return html`<${Empty} title="Nothing is on record yet.">
    <p>Record a first article: <code>onrecord import article.json</code>, or the mutation
      <code>recordArticle</code> at <a href="/graphql" data-elsewhere>/graphql</a>. Then its claims are here.</p>
  <//>`;
}
