// Two positions of the record, or two policies: which claims come out differently, and why.

import { BAR } from './graphql.js';
import { html } from './html.js';
import { Choice, count, Empty, Hidden, Pager, pageOf, Proposition, Quote } from './parts.js';
import { StanceChip, StateChip, Tally, When } from './parts.js';
import { articleLink, asOf, claimLink, eventLink, link, speakerLink, submitted } from './place.js';
import { reasonWords } from './reasons.js';

/** Changes come with all that led to them; claims under two policies do not. */
const CHANGES = 25;
const CLAIMS = 100;
const TRANSITIONS = 10;
const MOVES = 5;
/** What the policy in force is compared with until another is chosen. */
const OTHER = 'majority';

const BELIEF = 'state reason policy asserting denying withholding';

export const query = `query Compare(
  $asOf: AsOf, $policies: Boolean!, $from: Position!, $to: Position, $policy: ID, $one: ID, $other: ID,
  $first: Int, $after: String, $last: Int, $before: String
) {
  ${BAR}
  changes(from: $from, to: $to, policy: $policy, asOf: $asOf, first: $first, after: $after, last: $last, before: $before)
  @skip(if: $policies) {
    nodes {
      slug
      before { ${BELIEF} }
      after { ${BELIEF} }
      claim { proposition }
      transitions(first: ${TRANSITIONS}) {
        nodes {
          cursor position recordedAt reason
          event { reason }
          moves(first: ${MOVES}) {
            nodes {
              speaker { slug name }
              from { countsAs }
              to { countsAs quote article { url headline language outlet { name } } }
            }
            pageInfo { hasNextPage }
          }
        }
        pageInfo { hasNextPage }
      }
    }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
  claims(asOf: $asOf, orderBy: SLUG, first: $first, after: $after, last: $last, before: $before) @include(if: $policies) {
    nodes { slug proposition one: belief(policy: $one) { ${BELIEF} } other: belief(policy: $other) { ${BELIEF} } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}`;

/** What the URL says is to be compared. */
function choice({ params, policy }) {
  const position = (name) => (/^\d{1,15}$/.test(params.get(name) ?? '') ? Number(params.get(name)) : null);
  return {
    policies: params.get('by') === 'policies',
    from: position('from') ?? 1,
    to: position('to'),
    one: params.get('one') || policy,
    other: params.get('other') || OTHER,
  };
}

export function variables(place) {
  const { policies, ...chosen } = choice(place);
  return { asOf: asOf(place), policies, ...chosen, policy: place.policy, ...pageOf(place.params, policies ? CLAIMS : CHANGES) };
}

export const title = () => 'Compare';

export function Screen({ data, place }) {
  const chosen = choice(place);
  const ways = [
    ['Two positions', link('/compare'), !chosen.policies],
    ['Two policies', link('/compare', { by: 'policies' }), chosen.policies],
  ];
  return html`
    <div class="row spread">
      <h1>Compare</h1>
      <${Choice} label="What is compared" of=${ways} />
    </div>
    <${chosen.policies ? Policies : Positions} data=${data} chosen=${chosen} />
  `;
}

// --- two positions --------------------------------------------------------------------

function Positions({ data: { changes, latest }, chosen }) {
  const newest = latest.nodes[0]?.position ?? 0;
  const to = chosen.to ?? newest;
  return html`
    <form class="chosen" key=${JSON.stringify(chosen)} action="/compare" onSubmit=${submitted} aria-label="Which positions">
      <label>From position
        <input name="from" type="number" min="0" max=${newest} inputmode="numeric" required value=${chosen.from} /></label>
      <label>to position
        <input name="to" type="number" min="0" max=${newest} inputmode="numeric" value=${chosen.to ?? ''}
          placeholder="${newest}, the last" /></label>
      <button class="button strong" type="submit">Compare</button>
    </form>
    ${changes.nodes.length === 0
      ? html`<${Empty} title="No belief differs between position ${chosen.from} and position ${to}.">
          <p>What was recorded between them moved none. <a href=${link('/compare', { from: 0 })}>Begin at the beginning</a>,
            or look at <a href=${link('/log')}>the events</a>.</p>
        <//>`
      : html`<${Changes} changes=${changes} from=${chosen.from} to=${to} />`}
    <${Pager} pageInfo=${changes.pageInfo} label="Pages of claims" words=${['Previous', 'Next']} />
  `;
}

function Changes({ changes, from, to }) {
  return html`<table class="list compared">
    <caption>Claims of which another state or reason is believed at position ${to} than at position ${from}, by slug</caption>
    <thead>
      <tr>
        <th scope="col">Claim</th>
        <th scope="col">At ${from}</th>
        <th scope="col">At ${to}</th>
        <th scope="col">Because</th>
      </tr>
    </thead>
    <tbody>${changes.nodes.map(({ slug, claim, before, after, transitions }) => html`<tr key=${slug}>
      <th scope="row"><a class="proposition" dir="auto" href=${claimLink(slug)}>${claim?.proposition ?? slug}</a></th>
      <td data-label="At ${from}"><${Believed} belief=${before} /></td>
      <td data-label="At ${to}"><${Believed} belief=${after} /></td>
      <td data-label="Because"><ol class="led">
        ${transitions.nodes.map((each) => html`<${Led} key=${each.cursor} transition=${each} />`)}
        ${transitions.pageInfo.hasNextPage && html`<li class="small"><a href=${claimLink(slug)}>and more</a></li>`}
      </ol></td>
    </tr>`)}</tbody>
  </table>`;
}

function Believed({ belief }) {
  if (!belief) return html`<${StateChip} state=${null} />`;
  return html`<${StateChip} state=${belief.state} />
    <span class="block small muted why">${reasonWords(belief.reason)}</span>
    <${Tally} belief=${belief} />`;
}

/** What one event did to a belief: who moved from where to where, or who decided. */
function Led({ transition: { position, recordedAt, event, moves } }) {
  return html`<li>
    <p class="small muted"><a href=${eventLink(position)}>Position ${position}</a>, <${When} at=${recordedAt} /></p>
    ${event.reason && html`<p dir="auto">${event.reason}</p>`}
    <ul>${moves.nodes.map(({ speaker, from, to }) => html`<li key=${speaker.slug} class="move">
      <span class="row">
        <a class="quiet" dir="auto" href=${speakerLink(speaker.slug)}>${speaker.name}</a>
        ${from && from.countsAs !== to?.countsAs &&
        html`<${StanceChip} stance=${from.countsAs} /><span aria-hidden="true">→</span><${Hidden}> to <//>`}
        ${to ? html`<${StanceChip} stance=${to.countsAs} />` : html`<span class="tag">stands no more</span>`}
      </span>
      ${to && html`<span class="block"><${Quote} text=${to.quote} lang=${to.article.language} /> <a class="quiet small" dir="auto"
        href=${articleLink(to.article.url)}>${to.article.outlet.name}</a></span>`}
    </li>`)}
    ${moves.pageInfo.hasNextPage && html`<li class="small muted">and more speakers</li>`}</ul>
  </li>`;
}

// --- two policies ---------------------------------------------------------------------

function Policies({ data: { claims, policies }, chosen }) {
  const differs = ({ one, other }) => one.state !== other.state;
  const first = claims.nodes[0];
  const one = first?.one.policy ?? chosen.one;
  const other = first?.other.policy ?? chosen.other;
  // Those whose state differs first, then those that come to the same state for another reason.
  const rank = (claim) => (differs(claim) ? 0 : claim.one.reason !== claim.other.reason ? 1 : 2);
  const sorted = claims.nodes.toSorted((a, b) => rank(a) - rank(b));
  const { hasNextPage, hasPreviousPage } = claims.pageInfo;
  const all = hasNextPage || hasPreviousPage ? 'on this page' : 'in all';
  return html`
    <form class="chosen" key=${JSON.stringify(chosen)} action="/compare" onSubmit=${submitted} aria-label="Which policies">
      <input type="hidden" name="by" value="policies" />
      <${Selection} name="one" label="One policy" value=${one} policies=${policies} />
      <${Selection} name="other" label="and another" value=${other} policies=${policies} />
      <button class="button strong" type="submit">Compare</button>
    </form>
    ${claims.nodes.length === 0
      ? html`<${Empty} title="Nothing is on record here yet."><p>Policies have nothing to differ about.</p><//>`
      : html`
        <dl class="rules">${[one, other].map(
          (id) => html`<div key=${id}><dt>${id}</dt><dd class="muted">${described(policies, id)}</dd></div>`,
        )}</dl>
        <p class="lead" role="status">Of ${count(claims.nodes.length, 'claim')} ${all}, ${claims.nodes.filter(differs).length}
          ${' '}come to another state under ${other} than under ${one}.</p>
        <table class="list compared policies">
          <caption>Claims under both policies, those that differ first</caption>
          <thead>
            <tr>
              <th scope="col">Claim</th>
              <th scope="col">${one}</th>
              <th scope="col">${other}</th>
              <th scope="col">Speakers</th>
            </tr>
          </thead>
          <tbody>${sorted.map((claim) => html`<tr key=${claim.slug}>
            <th scope="row"><${Proposition} claim=${claim} />
              ${differs(claim) && html` <span class="tag">differs</span>`}</th>
            <td data-label=${one}><${Verdict} belief=${claim.one} slug=${claim.slug} /></td>
            <td data-label=${other}><${Verdict} belief=${claim.other} slug=${claim.slug} /></td>
            <td data-label="Speakers"><${Tally} belief=${claim.one} /></td>
          </tr>`)}</tbody>
        </table>`}
    <${Pager} pageInfo=${claims.pageInfo} label="Pages of claims" words=${['Previous', 'Next']} />
  `;
}

const described = (policies, id) => policies.find((policy) => policy.id === id)?.description ?? 'with parameters of its own';

/** A choice among the policies, which may have parameters and then is not among them. */
function Selection({ name, label, value, policies }) {
  const ids = policies.map(({ id }) => id);
  return html`<label>${label}
    <select name=${name} value=${value}>
      ${[...ids, ...(ids.includes(value) ? [] : [value])].map((id) => html`<option key=${id} value=${id}>${id}</option>`)}
    </select></label>`;
}

function Verdict({ belief, slug }) {
  return html`<a class="plain" href=${claimLink(slug, { policy: belief.policy })}><${StateChip} state=${belief.state} /></a>
    <span class="block small muted why">${reasonWords(belief.reason)}</span>`;
}
