// One article: its text with the quotes marked in it, its statements by claim, and what each revision changed.

import { BAR } from './graphql.js';
import { html, useMemo } from './html.js';
import { count, Empty, Hidden, hue, NotFound, Outside, Pager, pageOf, Proposition, Quote } from './parts.js';
import { StanceChip, StateChip, When } from './parts.js';
import { articleLink, asOf, eventLink, isPast } from './place.js';
import { Statement } from './statement.js';

/** As many as the API gives at once. */
const PAGE = 100;
const REVISIONS = 10;

const SAID = `
  id stance countsAs certainty form name role quote start saidAt effectiveAt position ordinal live standing
  speaker { slug name }
`;

export const query = `query Article(
  $url: String!, $asOf: AsOf, $policy: ID, $first: Int, $after: String, $last: Int, $before: String
) {
  ${BAR}
  article(url: $url, asOf: $asOf) {
    url headline publishedAt language revision revisedAt change quotesVerified position live textSha256 text
    readBy { kind id version }
    outlet { slug name }
    retraction { position recordedAt reason }
    erasure { position recordedAt reason }
    statements(first: $first, after: $after, last: $last, before: $before) {
      nodes { ${SAID} claim { slug proposition belief(policy: $policy) { state } } }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
    revisions(last: ${REVISIONS}) {
      nodes {
        revision position headline revisedAt change
        readBy { kind id version }
        event { recordedAt actor }
        statements(first: ${PAGE}) { nodes { ${SAID} claim { slug proposition } } pageInfo { hasNextPage } }
      }
      pageInfo { hasPreviousPage }
    }
  }
}`;

export const variables = (place) => ({
  url: place.params.get('url') ?? '',
  asOf: asOf(place),
  policy: place.policy,
  ...pageOf(place.params, PAGE),
});

export const title = ({ article }) => (article ? (article.headline ?? 'An article without a headline') : 'Not on record');

export function Screen({ data, place }) {
  const { article } = data;
  if (!article) return html`<${NotFound} what="There is no article with this address." />`;
  // The marks in the text name the statements of the list by these numbers.
  const numbered = article.statements.nodes.map((statement, index) => ({ ...statement, article, number: index + 1 }));
  return html`
    <${Head} article=${article} />
    <${Withdrawn} article=${article} />
    <div class=${article.text === null ? 'reading alone' : 'reading'}>
      <${Text} article=${article} statements=${numbered} past=${isPast(place)} />
      <${Statements} article=${article} statements=${numbered} />
    </div>
    <${Revisions} article=${article} />
  `;
}

function Head({ article }) {
  const { headline, outlet, publishedAt, language, revision, revisedAt, readBy, position, quotesVerified, url } = article;
  return html`<header class="stack">
    <p class="muted">
      <bdi>${outlet.name}</bdi> · <${When} at=${publishedAt} />
      ${revision > 1 && html` · revision ${revision}`}${revisedAt && html`, <${When} at=${revisedAt} />`}
    </p>
    <h1 dir="auto" lang=${language || undefined}>${headline ?? html`<span class="muted">No headline</span>`}</h1>
    <p class="small muted row">
      <${Outside} url=${url} />
      <a class="quiet" href=${eventLink(position)}>recorded at position ${position}</a>
      ${readBy && html`<span>read by ${reader(readBy)}</span>`}
      <span>${quotesVerified ? 'every quote was found in its text, to the letter' : 'quotes not compared with a text'}</span>
    </p>
  </header>`;
}

const reader = ({ kind, id, version }) => `${kind === 'MODEL' ? 'the model' : 'the person'} ${id}${version ? ` ${version}` : ''}`;

function Withdrawn({ article: { retraction } }) {
  if (!retraction) return null;
  return html`<section class="notice" aria-label="Retraction">
    <p><strong>Retracted</strong> <${When} at=${retraction.recordedAt} />,
      at <a href=${eventLink(retraction.position)}>position ${retraction.position}</a>.
      Its statements count no more from there on.</p>
    <blockquote><p dir="auto">${retraction.reason}</p></blockquote>
  </section>`;
}

// --- the text -------------------------------------------------------------------------

/**
 * The text cut where a quote begins or ends: pieces in order, each with the statements whose quotes cover it and those
 * whose quotes end with it. Offsets count code points, and quotes may overlap.
 */
export function pieces(text, statements) {
  const points = Array.from(text);
  const spans = statements
    .filter(({ start }) => start !== null)
    .map((statement) => ({ statement, from: statement.start, to: statement.start + Array.from(statement.quote).length }))
    // One that does not stand where it is said to be would mark other words.
    .filter(({ statement, from, to }) => points.slice(from, to).join('') === statement.quote);
  const cuts = [...new Set([0, points.length, ...spans.flatMap(({ from, to }) => [from, to])])].sort((a, b) => a - b);
  return cuts.slice(1).map((end, index) => ({
    text: points.slice(cuts[index], end).join(''),
    of: spans.filter(({ from, to }) => from < end && end <= to).map(({ statement }) => statement),
    ending: spans.filter(({ to }) => to === end).map(({ statement }) => statement),
  }));
}

function Text({ article, statements, past }) {
  const { text, textSha256, erasure, language } = article;
  const cut = useMemo(() => (text === null ? [] : pieces(text, statements)), [article]);
  if (text !== null) {
    return html`<section class="text" aria-labelledby="text">
      <h2 id="text">Text</h2>
      <div class="prose" dir="auto" lang=${language || undefined}>${cut.map(
        (piece, index) => html`<${Piece} key=${index} piece=${piece} />`,
      )}</div>
    </section>`;
  }
  return html`<section class="text" aria-labelledby="text">
    <h2 id="text">Text</h2>
    ${erasure
      ? html`<div class="notice">
          <p><strong>Erased</strong> <${When} at=${erasure.recordedAt} />,
            at <a href=${eventLink(erasure.position)}>position ${erasure.position}</a>, for good${past && ': a text that is erased is erased in the past too'}. Its quotes stay.</p>
          <blockquote><p dir="auto">${erasure.reason}</p></blockquote>
        </div>`
      : html`<p class="muted">${textSha256
          ? 'The text is not held here, only its hash, so that it can be told from any other:'
          : 'No text was sent with this article, only its quotes.'}</p>`}
    ${textSha256 && html`<p class="small muted">SHA-256 <code>${textSha256}</code></p>`}
  </section>`;
}

/** A piece of the text, marked by the stance of whom it quotes; after the last piece of a quote its number. */
function Piece({ piece: { text, of, ending } }) {
  if (!of.length) return text;
  const [stance, other] = new Set(of.map(({ countsAs }) => hue(countsAs)));
  return html`<mark class="${other ? 'mixed' : stance} ${of.length > 1 ? 'several' : ''}">${text}</mark>${ending.map(
    ({ number }) => html`<sup key=${number}><a href="#statement-${number}" aria-label="Statement ${number}">${number}</a></sup>`,
  )}`;
}

// --- the statements -------------------------------------------------------------------

function Statements({ article, statements }) {
  const { pageInfo } = article.statements;
  const claims = grouped(statements);
  const more = pageInfo.hasNextPage || pageInfo.hasPreviousPage;
  return html`<section aria-labelledby="statements">
    <h2 id="statements">${count(statements.length, 'statement')} on ${count(claims.length, 'claim')}${more && ', of more'}</h2>
    ${claims.length === 0 && html`<${Empty} title="No claim was read out of this article.">
      <p>It is on record all the same.</p>
    <//>`}
    ${claims.map(({ claim, said }) => html`<section key=${claim.slug} class="of-claim">
      <h3><${StateChip} state=${claim.belief.state} /> <${Proposition} claim=${claim} /></h3>
      <ul>${said.map((statement) => html`<li key=${statement.id} id="statement-${statement.number}">
        <span class="number" aria-hidden="true">${statement.number}</span>
        <${Statement} statement=${statement} where=${false} />
      </li>`)}</ul>
    </section>`)}
    <${Pager} pageInfo=${pageInfo} label="Pages of statements" words=${['Earlier', 'Later']} />
  </section>`;
}

/** The statements by claim, in the order in which the article comes to each. */
function grouped(statements) {
  const found = new Map();
  for (const statement of statements) {
    const { claim } = statement;
    if (!found.has(claim.slug)) found.set(claim.slug, { claim, said: [] });
    found.get(claim.slug).said.push(statement);
  }
  return [...found.values()];
}

// --- the revisions --------------------------------------------------------------------

/** What a revision did to the statements of the one before. */
export function compared(before, after) {
  const left = [...before];
  const taken = (fits) => {
    const at = left.findIndex(fits);
    return at < 0 ? undefined : left.splice(at, 1)[0];
  };
  // The same ones first: otherwise one of two by a speaker on a claim could pass for the other, changed.
  const same = after.map((statement) => taken((each) => words(each) === words(statement)));
  const others = after.filter((_, index) => !same[index]);
  const pairs = others.map((statement) => [taken((each) => about(each) === about(statement)), statement]);
  return {
    changed: pairs.filter(([earlier]) => earlier),
    added: pairs.filter(([earlier]) => !earlier).map(([, statement]) => statement),
    dropped: left,
    kept: same.filter(Boolean).length,
  };
}

const about = ({ claim, speaker }) => JSON.stringify([claim.slug, speaker.slug]);
const words = (statement) => {
  const { stance, certainty, form, name, role, quote, saidAt } = statement;
  return JSON.stringify([about(statement), stance, certainty, form, name, role, quote, saidAt]);
};

function Revisions({ article: { url, revision, revisions } }) {
  const all = revisions.nodes;
  return html`<section class="revisions" aria-labelledby="revisions">
    <h2 id="revisions">Revisions</h2>
    ${all.length === 1 && html`<p class="muted">As first recorded; it was not revised.</p>`}
    ${all.length > 1 && html`<ol>${all.map((each, index) => html`<li key=${each.revision} class="revision">
      <h3 class="row">
        <span>Revision ${each.revision}</span>
        ${each.revision === revision
          ? html`<span class="tag">shown above</span>`
          : html`<a class="small" href=${articleLink(url, { at: each.position })}>see it as of position ${each.position}</a>`}
      </h3>
      <p class="small muted">${told(each)} · recorded <${When} at=${each.event.recordedAt} /> at
        ${' '}<a class="quiet" href=${eventLink(each.position)}>position ${each.position}</a> by ${each.event.actor}</p>
      ${index > 0 && html`<${Changes} before=${all[index - 1]} after=${each} />`}
    </li>`)}</ol>`}
    ${revisions.pageInfo.hasPreviousPage && html`<p class="small muted">Only the last ${REVISIONS} are shown.</p>`}
  </section>`;
}

function told({ revision, change, revisedAt, readBy }) {
  if (revision === 1) return 'as first recorded';
  const what = change === 'READING' ? 'we had read it wrong; the article is the same' : 'the outlet changed the article';
  return html`${what}${revisedAt && html`, <${When} at=${revisedAt} />`}${readBy && `, read by ${reader(readBy)}`}`;
}

function Changes({ before, after }) {
  if (before.statements.pageInfo.hasNextPage || after.statements.pageInfo.hasNextPage) {
    return html`<p class="small muted">
      It has more than ${PAGE} statements, too many to compare here; the events hold them all.
    </p>`;
  }
  const { changed, added, dropped, kept } = compared(before.statements.nodes, after.statements.nodes);
  const retitled = before.headline !== after.headline;
  return html`
    ${retitled && html`<p class="change">
      <span class="tag">headline</span> <${Edit} before=${before.headline ?? 'none'} after=${after.headline ?? 'none'} />
    </p>`}
    <ul class="changes">
      ${added.map((each) => html`<${Change} key=${each.id} what="added" statement=${each} />`)}
      ${dropped.map((each) => html`<${Change} key=${each.id} what="dropped" statement=${each} />`)}
      ${changed.map(([earlier, each]) => html`<${Change} key=${each.id} what="changed" statement=${each} earlier=${earlier} />`)}
    </ul>
    <p class="small muted">${kept === after.statements.nodes.length && kept === before.statements.nodes.length
      ? `All ${count(kept, 'statement')} as before.`
      : `${count(kept, 'statement')} as before.`}</p>
  `;
}

const Edit = ({ before, after }) => html`<del dir="auto">${before}</del> <ins dir="auto">${after}</ins>`;

const SIGNS = { added: '+', dropped: '−', changed: '≠' };
const DETAILS = [['certainty', 'certainty'], ['form', 'form'], ['name', 'name'], ['role', 'role'], ['saidAt', 'said']];

function Change({ what, statement, earlier }) {
  const { claim, name, stance, quote } = statement;
  const details = earlier ? DETAILS.filter(([field]) => earlier[field] !== statement[field]) : [];
  return html`<li class="change">
    <p class="row">
      <span class="tag ${what}"><span aria-hidden="true">${SIGNS[what]}</span> ${what}</span>
      <span dir="auto">${name}</span>
      ${earlier && earlier.stance !== stance &&
      html`<${StanceChip} stance=${earlier.stance} /><span aria-hidden="true">→</span><${Hidden}>, now<//>`}
      <${StanceChip} stance=${stance} />
      <${Proposition} claim=${claim} />
    </p>
    ${earlier && earlier.quote !== quote
      ? html`<p><del><${Quote} text=${earlier.quote} /></del></p><p><ins><${Quote} text=${quote} /></ins></p>`
      : html`<p><${Quote} text=${quote} /></p>`}
    ${details.map(([field, word]) => html`<p key=${field} class="small muted">
      ${word}: <${Edit} before=${shown(earlier[field])} after=${shown(statement[field])} />
    </p>`)}
  </li>`;
}

/** A value of ours is a word in capitals; all else is shown as it was printed. */
const shown = (value) => (value === null ? 'not given' : /^[A-Z]+$/.test(value) ? value.toLowerCase() : value);
