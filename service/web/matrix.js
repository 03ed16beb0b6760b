// Speakers by stance over time: who stands where on a claim, who moved and when, in whose words.

import { html } from './html.js';
import { scaleOf, Track } from './lane.js';
import { count, hue, moment, Quote, sign, StanceChip, When } from './parts.js';
import { speakerLink } from './place.js';
import { Source, Statement } from './statement.js';

const GROUPS = [
  ['ASSERTS', 'asserting', 'asserts it', 'assert it'],
  ['DENIES', 'denying', 'denies it', 'deny it'],
  ['WITHHOLDS', 'withholding', 'takes no side', 'take no side'],
];

/** One speaker's statements on one claim along the time they were said: drawn, and in words where the stance moved. */
export function OverTime({ statements, scale }) {
  const stances = statements.map(({ effectiveAt, countsAs, quote }) => ({
    at: effectiveAt,
    stance: countsAs,
    title: `${moment(effectiveAt)}: ${countsAs.toLowerCase()}: “${quote}”`,
  }));
  return html`<td class="over-time">
    <${Track} stances=${stances} scale=${scale} />
    <${Moved} among=${statements.filter(({ countsAs }, index) => countsAs !== statements[index - 1]?.countsAs)} />
  </td>`;
}

/** How often a stance is told in a sentence, at most. */
const TOLD_MAX = 3;

/** How the stance moved, as a sentence; where it moved often, the last of it. */
function Moved({ among }) {
  if (among.length < 2) return null;
  const to = ({ countsAs, saidAt, effectiveAt }, first) =>
    html`<span class=${hue(countsAs)}>${countsAs.toLowerCase()}</span>${!first && html` on <${When} at=${saidAt ?? effectiveAt} />`}`;
  if (among.length > TOLD_MAX) return html`<span class="small">moved ${count(among.length - 1, 'time')}, last to ${to(among.at(-1))}</span>`;
  return html`<span class="small">moved: ${among.map((each, index) => html`${index > 0 && ', then '}${to(each, index === 0)}`)}</span>`;
}

/**
 * @param {{speakers: object[], belief: object}} _ claim speakers, each with `statement` and `stances`, and the tallies
 */
export function Matrix({ speakers, belief }) {
  const instants = speakers.flatMap(({ stances }) => stances.nodes.map(({ effectiveAt }) => effectiveAt));
  const scale = instants.length ? scaleOf(instants) : () => 50;
  return html`<table class="list matrix">
    <caption>Who stands where, along the time it was said; who moved last comes first</caption>
    <thead>
      <tr><th scope="col">Speaker</th><th scope="col">Over time</th><th scope="col">Stands at</th><th scope="col">In these words</th></tr>
    </thead>
    ${GROUPS.map(([stance, tally, one, many]) => {
      const standing = speakers.filter(({ statement }) => statement.countsAs === stance);
      if (!standing.length) return null;
      return html`<tbody key=${stance}>
        <tr class="group"><th scope="rowgroup" colspan="4" class=${hue(stance)}>
          <span aria-hidden="true">${sign(stance)}</span> ${belief[tally]} ${belief[tally] === 1 ? one : many}</th></tr>
        ${standing.map((each) => html`<${Row} key=${each.speaker.slug} of=${each} scale=${scale} />`)}
      </tbody>`;
    })}
  </table>`;
}

function Row({ of: { speaker, statement, stances }, scale }) {
  const { nodes } = stances;
  const earlier = nodes.filter(({ id }) => id !== statement.id);
  return html`<tr>
    <th scope="row">
      <a class="name" dir="auto" href=${speakerLink(speaker.slug)}>${speaker.name}</a>
      ${statement.role && html`<span class="block small muted" dir="auto">${statement.role}</span>`}
    </th>
    <${OverTime} statements=${nodes} scale=${scale} />
    <td data-label="Stands at"><${StanceChip} stance=${statement.countsAs} />
      <span class="block small muted"><${When} at=${statement.saidAt ?? statement.effectiveAt} /></span></td>
    <td>
      <${Quote} text=${statement.quote} lang=${statement.article.language} />
      <${Source} article=${statement.article} quiet />
      ${earlier.length > 0 && html`<details class="earlier">
        <summary class="small">${count(earlier.length, 'other statement')}</summary>
        <ol class="stack">${earlier.map((each) => html`<li key=${each.id}><${Statement} statement=${each} by=${false} /></li>`)}</ol>
      </details>`}
    </td>
  </tr>`;
}
