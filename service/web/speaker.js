// One speaker: where they stand, where that moved, under which names, and what became of the claims.

import { ask, BAR } from './graphql.js';
import { html, useState } from './html.js';
import { scaleOf } from './lane.js';
import { OverTime } from './matrix.js';
import { count, Empty, NotFound, Pager, pageOf, Proposition, Quote, Shares, StanceChip, StateChip, When } from './parts.js';
import { articleLink, asOf } from './place.js';
import { Source, STATEMENT } from './statement.js';

const PAGE = 100;

/** Where a standing statement comes out beside the state of its claim. */
const SIDES = `countsAs claim { belief(policy: $policy) { state } }`;

export const query = `query Speaker($slug: String!, $asOf: AsOf, $policy: ID, $first: Int, $after: String, $last: Int, $before: String) {
  ${BAR}
  speaker(slug: $slug, asOf: $asOf) {
    slug name role organisation bloc ownVoice alsoKnownAs
    statements(standing: true, first: $first, after: $after, last: $last, before: $before) {
      nodes {
        ${STATEMENT} organisation bloc
        claim {
          slug proposition belief(policy: $policy) { state }
          statements(speaker: $slug, live: true, first: 25) { nodes { ${STATEMENT} organisation } }
        }
      }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
}`;

/** What is left to count, where a speaker stands on more claims than a page holds. */
const REST = `query Sides($slug: String!, $asOf: AsOf, $policy: ID, $after: String) {
  speaker(slug: $slug, asOf: $asOf) {
    statements(standing: true, first: 100, after: $after) { nodes { ${SIDES} } pageInfo { hasNextPage endCursor } }
  }
}`;

export const variables = (place) => ({
  slug: place.slug,
  asOf: asOf(place),
  policy: place.policy,
  ...pageOf(place.params, PAGE),
});

export const title = ({ speaker }) => speaker?.name ?? 'Not on record';

export function Screen({ data: { speaker }, place }) {
  if (!speaker) return html`<${NotFound} what=${`No statement of a speaker named “${place.slug}” is recorded.`} />`;
  const { nodes, pageInfo } = speaker.statements;
  return html`
    <${Heading} speaker=${speaker} asked=${place.slug} />
    ${nodes.length > 0 && html`<${Agreement} key=${place.href} statements=${speaker.statements} place=${place} />`}
    <section class="part" aria-labelledby="stands">
      <h2 id="stands">Stances over time</h2>
      ${nodes.length ? html`<${Stances} statements=${nodes} />` : html`<${Empty} title="No statement of theirs stands.">
        <p>The articles that reported them were retracted, or speak of them no more.</p>
      <//>`}
      <${Pager} pageInfo=${pageInfo} label="Pages of claims" list="stands" />
    </section>
    <${Names} statements=${nodes} />
  `;
}

function Heading({ speaker, asked }) {
  const { slug, name, role, organisation, bloc, ownVoice, alsoKnownAs } = speaker;
  return html`<header class="heading">
    <p class="small muted row">
      <span>${ownVoice ? 'Outlet in its own voice' : 'Speaker'} <code>${slug}</code></span>
      ${bloc && html`<span>Bloc <code>${bloc}</code></span>`}
      ${alsoKnownAs.length > 0 && html`<span>Also known as ${alsoKnownAs.map((other, index) => html`${index > 0 && ', '}<code key=${other}>${other}</code>`)}</span>`}
    </p>
    <h1 dir="auto">${name}</h1>
    ${(role || organisation) && html`<p class="muted" dir="auto">${[role, organisation].filter(Boolean).join(', ')}</p>`}
    ${asked !== slug && html`<p class="small muted">The speaker <code>${asked}</code> is merged into this one.</p>`}
  </header>`;
}

const OPPOSITE = { ASSERTS: 'DENIED', DENIES: 'ASSERTED' };

/** Of the claims on which the speaker stands decisively, how many have that state, the opposite, neither. */
function sides(statements) {
  const counted = { same: 0, opposite: 0, neither: 0 };
  for (const { countsAs, claim } of statements) {
    if (!OPPOSITE[countsAs]) continue;
    const { state } = claim.belief;
    if (state === 'UNVERIFIED') counted.neither += 1;
    else if (state === OPPOSITE[countsAs]) counted.opposite += 1;
    else counted.same += 1;
  }
  return counted;
}

function Agreement({ statements: { nodes, pageInfo }, place }) {
  const [rest, setRest] = useState({ counted: null, counting: false });
  const counted = rest.counted ?? sides(nodes);
  const whole = rest.counted || !(pageInfo.hasNextPage || pageInfo.hasPreviousPage);

  async function countAll() {
    setRest({ counted: null, counting: true });
    const all = [];
    let after = null;
    try {
      do {
        const { data } = await ask(REST, { slug: place.slug, asOf: asOf(place), policy: place.policy, after });
        const page = data.speaker.statements;
        all.push(...page.nodes);
        after = page.pageInfo.hasNextPage ? page.pageInfo.endCursor : null;
      } while (after);
      setRest({ counted: sides(all), counting: false });
    } catch {
      setRest({ counted: null, counting: false });
    }
  }

  const rows = [
    ['same', 'have the state that they say'],
    ['opposite', 'have the opposite state'],
    ['neither', 'have neither'],
  ];
  const sum = counted.same + counted.opposite + counted.neither;
  return html`<section class="card agreement" aria-labelledby="agreement">
    <h2 id="agreement">Takes a side on ${count(sum, 'claim')}${whole ? '' : ' of this page'}</h2>
    <ul class="row">
      ${rows.map(([name, words]) => html`<li key=${name} class=${name}><strong class="number">${counted[name]}</strong> ${words}</li>`)}
    </ul>
    <${Shares} of=${rows.map(([name]) => [name, counted[name]])} />
    ${!whole && html`<p><button type="button" class="button" disabled=${rest.counting} onClick=${countAll}>Count all claims</button></p>`}
    <p class="small muted">It says how often others agree or contradict, not who is right.</p>
  </section>`;
}

function Stances({ statements }) {
  const stancesOf = ({ claim }) =>
    [...claim.statements.nodes].sort((one, other) => (one.effectiveAt < other.effectiveAt ? -1 : one.effectiveAt > other.effectiveAt ? 1 : one.position - other.position || one.ordinal - other.ordinal));
  const scale = scaleOf(statements.flatMap(({ effectiveAt, claim }) => [effectiveAt, ...claim.statements.nodes.map((each) => each.effectiveAt)]));
  return html`<table class="list matrix stances">
    <caption>One line for each claim on which they stand, along the time it was said; the last recorded first</caption>
    <thead><tr>
      <th scope="col">Claim</th><th scope="col">Over time</th><th scope="col">Stands at</th><th scope="col">State of the claim</th>
    </tr></thead>
    <tbody>${statements.map((statement) => html`<${Row} key=${statement.id} statement=${statement} stances=${stancesOf(statement)} scale=${scale} />`)}</tbody>
  </table>`;
}

function Row({ statement, stances, scale }) {
  const { claim, countsAs, quote, saidAt, effectiveAt, article } = statement;
  return html`<tr>
    <th scope="row" class="claimed">
      <${Proposition} claim=${claim} />
      <span class="block small"><${Quote} text=${quote} lang=${article.language} /></span>
      <${Source} article=${article} quiet />
    </th>
    <${OverTime} statements=${stances} scale=${scale} />
    <td data-label="Stands at"><${StanceChip} stance=${countsAs} /><span class="block small muted"><${When} at=${saidAt ?? effectiveAt} /></span></td>
    <td data-label="State of the claim"><${StateChip} state=${claim.belief.state} /></td>
  </tr>`;
}

/** The names, roles and organisations under which articles print the speaker. */
function Names({ statements }) {
  const printed = new Map();
  for (const statement of statements)
    for (const each of [statement, ...statement.claim.statements.nodes]) {
      const words = [each.name, each.role, each.organisation].filter(Boolean).join(', ');
      if (!printed.has(words)) printed.set(words, new Map());
      printed.get(words).set(each.article.url, each.article.outlet.name);
    }
  if (printed.size === 0) return null;
  return html`<section class="part" aria-labelledby="names">
    <h2 id="names">Names as printed</h2>
    <ul class="stack">${[...printed].map(([words, articles]) => html`<li key=${words}>
      <span dir="auto">${words}</span>
      <span class="block small muted">${[...articles].map(([url, outlet], index) => html`${index > 0 && ', '}<a class="quiet" href=${articleLink(url)}>${outlet}</a>`)}</span>
    </li>`)}</ul>
  </section>`;
}
