// What happened to the record and to beliefs, in words.

import { html } from './html.js';
import { Hidden, StateChip } from './parts.js';

/** What happened, for each type of event. */
export const HAPPENED = {
  ArticleRecorded: 'Article recorded',
  ArticleRevised: 'Article revised',
  ArticleRetracted: 'Article retracted',
  TextErased: 'Text erased',
  ClaimsMerged: 'Claims merged',
  SpeakersMerged: 'Speakers merged',
  MergeUndone: 'Merge undone',
  ClaimsRelated: 'Claims related',
  ClaimRuled: 'Claim ruled on',
  RulingLifted: 'Ruling lifted',
  PolicyAdopted: 'Policy adopted',
};

/** From which state to which. */
export function Step({ from, to }) {
  if (from === to) return html`<span class="row"><${StateChip} state=${to} /><span class="tag">for another reason</span></span>`;
  return html`<span class="row step">
    ${from ? html`<${StateChip} state=${from} />` : html`<span class="tag">new</span>`}
    <span aria-hidden="true">→</span><${Hidden}> to <//>
    ${to ? html`<${StateChip} state=${to} />` : html`<span class="tag">merged away</span>`}
  </span>`;
}
