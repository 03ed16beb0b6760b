// One claim: its state and why, how it came about, who stands where, and all that was said on it.

import { BAR } from './graphql.js';
import { html } from './html.js';
import { Lane, scaleOf } from './lane.js';
import { Matrix } from './matrix.js';
import { Choice, count, Empty, length, moment, NotFound, Pager, pageOf, Proposition, StateChip, stateWord, Tally, When } from './parts.js';
import { asOf, changed, claimLink, eventLink, link, speakerLink, articleLink } from './place.js';
import { reasonWords, verdict } from './reasons.js';
import { Statement, STATEMENT } from './statement.js';

const TRANSITIONS = 100;
const PAGE = 25;
/** The cursors of the three lists, by their parameters in the URL. */
const HISTORY = ['history-after', 'history-before'];
const SPEAKERS = ['speakers-after', 'speakers-before'];
const POLICIES = ['unanimous', 'corroborated', 'majority', 'latest', 'any_denial'];

export const query = `query Claim(
  $slug: String!, $asOf: AsOf, $policy: ID, $axis: Axis,
  $historyFirst: Int, $historyAfter: String, $historyLast: Int, $historyBefore: String,
  $speakersFirst: Int, $speakersAfter: String, $speakersLast: Int, $speakersBefore: String,
  $first: Int, $after: String, $last: Int, $before: String
) {
  ${BAR}
  claim(slug: $slug, asOf: $asOf) {
    slug proposition firstPosition alsoKnownAs
    topic { slug }
    wordings(first: 25) { nodes { proposition language article { url outlet { name } } } }
    relations { relation reason position claim { slug proposition } to { slug proposition } }
    belief(policy: $policy) {
      policy state reason asserting denying withholding contested singleSpeaker
      unruled { state reason }
      since { position recordedAt event { reason } }
    }
    ${POLICIES.map((name) => `${name}: belief(policy: "${name}") { policy state reason }`).join(' ')}
    history(axis: $axis, policy: $policy, first: $historyFirst, after: $historyAfter, last: $historyLast, before: $historyBefore) {
      nodes {
        position recordedAt effectiveAt retroactive from to reason
        moves(first: 5) { nodes { speaker { slug name } from { countsAs } to { countsAs } } pageInfo { hasNextPage } }
      }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
    speakers(first: $speakersFirst, after: $speakersAfter, last: $speakersLast, before: $speakersBefore) {
      nodes { speaker { slug name } statement { ${STATEMENT} } stances(last: 25) { nodes { ${STATEMENT} } } }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
    statements(first: $first, after: $after, last: $last, before: $before) {
      nodes { ${STATEMENT} }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
}`;

const axisOf = ({ params }) => (params.get('axis') === 'recorded' ? 'RECORDED' : 'SAID');

/** The arguments of one of several lists: `{first}` as `{speakersFirst}`. */
const named = (list, page) =>
  Object.fromEntries(Object.entries(page).map(([name, value]) => [list + name[0].toUpperCase() + name.slice(1), value]));

export function variables(place) {
  const { params } = place;
  const history = HISTORY.some((name) => params.get(name)) ? pageOf(params, TRANSITIONS, HISTORY) : { last: TRANSITIONS };
  return {
    slug: place.slug,
    asOf: asOf(place),
    policy: place.policy,
    axis: axisOf(place),
    ...named('history', history),
    ...named('speakers', pageOf(params, PAGE, SPEAKERS)),
    ...pageOf(params, PAGE),
  };
}

export const title = ({ claim }) => claim?.proposition ?? 'Not on record';

export function Screen({ data: { claim }, place }) {
  if (!claim) return html`<${NotFound} what=${`No statement is recorded on a claim named “${place.slug}”.`} />`;
  const { belief, speakers, statements } = claim;
  return html`
    <${Heading} claim=${claim} asked=${place.slug} />
    <${Verdict} belief=${belief} />
    <section class="part" aria-labelledby="history">
      <${History} claim=${claim} axis=${axisOf(place)} />
    </section>
    <section class="part" aria-labelledby="speakers">
      <h2 id="speakers">Speakers</h2>
      ${speakers.nodes.length
        ? html`<${Matrix} speakers=${speakers.nodes} belief=${belief} />`
        : html`<${Empty} title="Nobody stands on it."><p>What was said on it is below, as far as it is on record.</p><//>`}
      <${Pager} pageInfo=${speakers.pageInfo} label="Pages of speakers" list="speakers" names=${SPEAKERS} words=${['Moved later', 'Moved earlier']} />
    </section>
    <section class="part" aria-labelledby="policies">
      <h2 id="policies">Under each policy</h2>
      <${Policies} claim=${claim} />
    </section>
    <${Context} claim=${claim} />
    <section class="part" aria-labelledby="statements">
      <h2 id="statements">All statements</h2>
      <p class="small muted">What was said on it, the last recorded first.</p>
      <ol class="statements">${statements.nodes.map((each) => html`<li key=${each.id}><${Statement} statement=${each} /></li>`)}</ol>
      <${Pager} pageInfo=${statements.pageInfo} label="Pages of statements" list="statements" />
    </section>
  `;
}

function Heading({ claim, asked }) {
  const { topic, slug, alsoKnownAs, proposition } = claim;
  return html`<header class="heading">
    <p class="small muted row">
      <span>Claim <code>${slug}</code></span>
      ${topic && html`<span>Topic <a href=${link('/', { topic: topic.slug })}>${topic.slug}</a></span>`}
      ${alsoKnownAs.length > 0 && html`<span>Also known as ${alsoKnownAs.map((other, index) => html`${index > 0 && ', '}<code key=${other}>${other}</code>`)}</span>`}
    </p>
    <h1 class=${length(proposition)} dir="auto">${proposition}</h1>
    ${asked !== slug && html`<p class="small muted">The claim <code>${asked}</code> is merged into this one.</p>`}
  </header>`;
}

/** What is believed, and why, before anything else. */
function Verdict({ belief }) {
  const { state, reason, unruled, since, policy, contested, singleSpeaker } = belief;
  return html`<div class="card verdict">
    <${StateChip} state=${state} />
    <div>
      <p class="sentence">${verdict(belief)}</p>
      <p>${reasonWords(reason)}${singleSpeaker && ' Only one speaker takes a side.'}</p>
      ${reason === 'RULED' && html`<${Ruling} why=${since.event.reason} unruled=${unruled} />`}
      <p class="small muted">
        ${contested && html`<span class="tag">contested</span> `}
        Under <code>${policy}</code> since <a href=${eventLink(since.position)}>position ${since.position}</a>, recorded
        ${' '}<${When} at=${since.recordedAt} />.
      </p>
    </div>
    <${Tally} belief=${belief} />
  </div>`;
}

/** What an editor decided, and what the policy says alone. */
const Ruling = ({ why, unruled }) => html`<p class="ruling">
  <strong>Ruled:</strong> <span dir="auto">${why}</span>
  ${' '}Without the ruling: ${stateWord(unruled.state).toLowerCase()}. ${reasonWords(unruled.reason)}
</p>`;

function History({ claim: { slug, history, belief }, axis }) {
  const said = axis === 'SAID';
  const at = ({ effectiveAt, recordedAt }) => (said && effectiveAt) || recordedAt;
  const when = (transition) => claimLink(slug, said ? { said: transition.effectiveAt } : { at: transition.position, said: null });
  const { nodes } = history;
  const marks = nodes.map((each) => ({
    at: at(each),
    to: each.to,
    title: `${moment(at(each))}: ${each.to ? stateWord(each.to) : 'merged away'}`,
    href: when(each),
  }));
  return html`
    <div class="row spread">
      <h2 id="history">How it came about</h2>
      <${Choice} label="Along which time" of=${[
        ['as it was said', changed({ axis: null }), said],
        ['as it was recorded', changed({ axis: 'recorded' }), !said],
      ]} />
    </div>
    ${marks.length > 0 && html`<${Lane} transitions=${marks} scale=${scaleOf(marks.map((mark) => mark.at))} />`}
    ${said && belief.reason === 'RULED' && html`<p class="small muted">A ruling was not said by any speaker, so this time leaves it out.</p>`}
    <details class="behind">
      <summary>${count(nodes.length, 'change')} of state or reason, as a list</summary>
      <table class="list">
        <caption>${said ? 'Along the time it was said, of all that is known' : 'Along the time it was recorded'}; oldest first</caption>
        <thead><tr><th scope="col">State</th><th scope="col">Why</th><th scope="col">Who moved</th><th scope="col">Said by</th><th scope="col">Recorded</th></tr></thead>
        <tbody>${nodes.map((each) => html`<${Transition} key=${each.position + at(each)} of=${each} said=${said} href=${when(each)} />`)}</tbody>
      </table>
    </details>
    <${Pager} pageInfo=${history.pageInfo} label="Pages of changes" list="history" names=${HISTORY} words=${['Earlier', 'Later']} />
  `;
}

function Transition({ of, said, href }) {
  const { from, to, reason, effectiveAt, recordedAt, retroactive, position, moves } = of;
  return html`<tr>
    <th scope="row" data-label="State">${to ? html`<${StateChip} state=${to} />` : 'merged away'}</th>
    <td data-label="Why">${reasonWords(reason) ?? 'It counts for another claim.'} ${!from && html`<span class="tag">begins</span>`} ${retroactive && html`<span class="tag">tells of an earlier time</span>`}</td>
    <td data-label="Who moved">${moves.nodes.map((move) => html`<span class="block" key=${move.speaker.slug}>
        <a dir="auto" href=${speakerLink(move.speaker.slug)}>${move.speaker.name}</a>: ${move.from && `${move.from.countsAs.toLowerCase()}, then `}${move.to ? move.to.countsAs.toLowerCase() : 'no more'}</span>`)}
      ${moves.pageInfo.hasNextPage && html`<span class="muted">and others</span>`}</td>
    <td data-label="Said by">${effectiveAt ? html`<${When} at=${effectiveAt} />` : 'nobody: it was decided'} ${said && html`<a class="quiet small block" href=${href}>as it was then</a>`}</td>
    <td data-label="Recorded"><${When} at=${recordedAt} seconds /> <a class="quiet small block" href=${said ? eventLink(position) : href}>position ${position}${!said && ', as it was then'}</a></td>
  </tr>`;
}

/** What each policy makes of the same statements. */
function Policies({ claim }) {
  return html`<table class="list">
    <caption>The same statements, by each rule</caption>
    <thead><tr><th scope="col">Policy</th><th scope="col">State</th><th scope="col">Why</th></tr></thead>
    <tbody>${POLICIES.map((name) => {
      const { policy, state, reason } = claim[name];
      const shown = policy === claim.belief.policy;
      return html`<tr key=${name} class=${shown ? 'shown' : undefined}>
        <th scope="row"><a href=${changed({ policy })} aria-current=${shown ? 'true' : undefined}>${policy}</a></th>
        <td data-label="State"><${StateChip} state=${state} /></td>
        <td data-label="Why">${reasonWords(reason)}</td>
      </tr>`;
    })}</tbody>
  </table>`;
}

/** How else it is worded, and how it bears on other claims. */
function Context({ claim: { slug, wordings, relations } }) {
  const others = wordings.nodes.slice(1);
  return html`
    ${relations.length > 0 && html`<section class="part" aria-labelledby="relations">
      <h2 id="relations">Beside other claims</h2>
      <ul class="stack">${relations.map(({ relation, reason, position, claim, to }) => {
        const own = claim.slug === slug;
        const other = own ? to : claim;
        return html`<li key=${position}>
          ${own ? 'It' : ''} ${own ? relation.toLowerCase() : `${relation === 'REFINES' ? 'Refined' : 'Contradicted'} by`}
          ${' '}<${Proposition} claim=${other} />
          <span class="block small muted"><span dir="auto">${reason}</span> · <a href=${eventLink(position)}>position ${position}</a></span>
        </li>`;
      })}</ul>
    </section>`}
    ${others.length > 0 && html`<section class="part" aria-labelledby="wordings">
      <h2 id="wordings">Other wordings</h2>
      <ul class="stack">${others.map(({ proposition, language, article }) => html`<li key=${proposition}>
        <span class="proposition" dir="auto" lang=${language || undefined}>${proposition}</span>
        <a class="quiet small block" dir="auto" href=${articleLink(article.url)}>${article.outlet.name}</a>
      </li>`)}</ul>
    </section>`}
  `;
}
