// One speaker's stance on one claim, as one article reports it.

import { html } from './html.js';
import { Hidden, Quote, StanceChip, When } from './parts.js';
import { articleLink, speakerLink } from './place.js';

/** What is asked of a statement wherever one is shown. */
export const STATEMENT = `
  id stance countsAs certainty form name role quote quoteVerified saidAt effectiveAt position ordinal live standing
  speaker { slug name }
  article { url headline language revision outlet { slug name } }
`;

const CERTAINTIES = { PROBABLE: 'as probable', POSSIBLE: 'as possible' };
const FORMS = { INDIRECT: 'reported speech', HEADLINE: 'headline' };

/** Where it stands: the outlet and the headline, each in its own direction. */
export const Source = ({ article: { url, outlet, headline, language }, quiet }) =>
  html`<a class=${quiet ? 'quiet small block' : undefined} href=${articleLink(url)}>
    <bdi>${outlet.name}</bdi>${headline && html`: <bdi lang=${language || undefined}>${headline}</bdi>`}</a>`;

/**
 * Who does what with the claim, in which words, and where that stands.
 * `by`: whether to name the speaker, where the page is not the speaker's own; `where`: the same of the article.
 */
export function Statement({ statement, by = true, where = true, children }) {
  const { stance, countsAs, certainty, form, name, role, quote, saidAt, effectiveAt, live, standing, speaker, article } = statement;
  const notes = [
    CERTAINTIES[certainty],
    FORMS[form],
    stance !== countsAs && 'said of the opposite',
    !live && 'no longer in its article',
    live && !standing && 'superseded',
  ].filter(Boolean);
  return html`<article class="statement ${standing ? 'standing' : ''}">
    <p class="row">
      ${by && html`<a class="name" dir="auto" href=${speakerLink(speaker.slug)}>${name}</a>`}
      ${by && role && html`<span class="muted small" dir="auto">${role}</span>`}
      <${StanceChip} stance=${countsAs} />
      ${notes.map((note) => html`<span key=${note} class="tag">${note}</span>`)}
    </p>
    ${children}
    <blockquote><${Quote} text=${quote} lang=${article.language} /></blockquote>
    <p class="small muted">
      <${Hidden}>Said <//><${When} at=${saidAt ?? effectiveAt} />${where && html` · <${Source} article=${article} />`}
    </p>
  </article>`;
}
