// One event as it came: its content to the byte, and the proof of its place in the log, checked here in the browser.

import { HAPPENED, Step } from './events.js';
import { BAR } from './graphql.js';
import { html, useMemo, useState } from './html.js';
import { Choice, Hidden, NotFound, Proposition, When } from './parts.js';
import { asOf, changed, eventLink, link } from './place.js';
import { canCheck, canonical, check } from './proof.js';
import { Source } from './statement.js';

const MOVED = 25;

export const query = `query Event($position: Position!, $asOf: AsOf, $policy: ID) {
  ${BAR}
  event(position: $position, asOf: $asOf) {
    position type schemaVersion recordedAt actor eventId reason payload payloadSha256 leaf
    article { url headline language revision outlet { name } }
    transitions(policy: $policy, first: ${MOVED}) {
      nodes { cursor from to retroactive claim { slug proposition } }
      pageInfo { hasNextPage }
    }
    inclusionProof { index treeSize hashes }
  }
  log { verifierKey checkpoint { note treeSize signedAt } }
}`;

export const variables = (place) => ({
  position: /^[1-9]\d{0,14}$/.test(place.slug) ? Number(place.slug) : 0,
  asOf: asOf(place),
  policy: place.policy,
});

export const title = ({ event }) => (event ? `${HAPPENED[event.type]}, position ${event.position}` : 'Not on record');

export function Screen({ data, place }) {
  const { event, log, latest } = data;
  if (!event) return html`<${NotFound} what="The log has no event at this position." />`;
  const [before, after] = [event.position - 1, event.position + 1];
  return html`
    <nav class="row spread" aria-label="Events">
      ${before > 0 ? html`<${Neighbour} rel="prev" at=${before}>← ${before}<//>` : html`<span />`}
      <a class="quiet" href=${link('/log')}>All events</a>
      ${after <= latest.nodes[0].position ? html`<${Neighbour} rel="next" at=${after}>${after} →<//>` : html`<span />`}
    </nav>
    <${Head} event=${event} />
    <${Moved} event=${event} />
    <${Content} event=${event} indented=${place.params.get('content') === 'indented'} />
    <${Proof} key=${log.checkpoint?.note} event=${event} log=${log} />
  `;
}

const Neighbour = ({ rel, at, children }) =>
  html`<a class="button" rel=${rel} href=${eventLink(at)} aria-label="Position ${at}">${children}</a>`;

function Head({ event }) {
  const { position, type, schemaVersion, recordedAt, actor, eventId, reason, article } = event;
  return html`<header class="stack event">
    <h1>${HAPPENED[type]}</h1>
    ${article && html`<p><${Source} article=${article} />${article.revision > 1 && html`, revision ${article.revision}`}</p>`}
    ${reason && html`<blockquote><p dir="auto">${reason}</p></blockquote>`}
    <dl class="facts">
      <dt>Position</dt><dd>${position} · <a href=${changed({ at: position })}>see the record as of here</a></dd>
      <dt>Recorded</dt><dd><${When} at=${recordedAt} seconds /></dd>
      <dt>Sent by</dt><dd dir="auto">${actor}</dd>
      <dt>Id</dt><dd><code>${eventId}</code></dd>
      <dt>Type</dt><dd><code>${type}</code>, version ${schemaVersion}</dd>
    </dl>
  </header>`;
}

function Moved({ event: { transitions } }) {
  return html`<section class="part stack" aria-labelledby="moved">
    <h2 id="moved">What it moved</h2>
    ${transitions.nodes.length === 0 && html`<p class="muted">No belief changed its state or reason by it.</p>`}
    <ul class="stack">${transitions.nodes.map(({ cursor, from, to, retroactive, claim }) => html`<li key=${cursor} class="row">
      <${Step} from=${from} to=${to} />
      <${Proposition} claim=${claim} />
      ${retroactive && html`<span class="tag">tells of an earlier time</span>`}
    </li>`)}</ul>
    ${transitions.pageInfo.hasNextPage && html`<p class="muted small">And more; these are the first ${MOVED}.</p>`}
  </section>`;
}

function Content({ event, indented }) {
  const text = useMemo(
    () => (indented ? JSON.stringify(event.payload, null, 2) : canonical(event.payload)),
    [event, indented],
  );
  const choices = [
    ['As stored', changed({ content: null }), !indented],
    ['Indented', changed({ content: 'indented' }), indented],
  ];
  return html`<section class="part stack" aria-labelledby="content">
    <div class="row spread">
      <h2 id="content">Content</h2>
      <${Choice} label="How the content is shown" of=${choices} />
    </div>
    <p class="small muted">${indented
      ? 'With line breaks and spaces that are not in the log.'
      : 'Byte for byte what the log holds: canonical JSON, over which the hash is taken.'}</p>
    <pre class="raw" tabindex="0" role="region" aria-label="JSON" dir="ltr">${text}</pre>
    <p class="small muted">SHA-256 <code>${event.payloadSha256}</code></p>
  </section>`;
}

// --- the proof ------------------------------------------------------------------------

function Proof({ event, log }) {
  const [steps, setSteps] = useState(null);
  const { inclusionProof: proof, leaf } = event;
  return html`<section class="part stack" aria-labelledby="proof">
    <h2 id="proof">Proof</h2>
    ${!proof && html`<p class="row">
      <span>The log is not signed so far yet. That takes about a second.</span>
      <button type="button" class="button" onClick=${() => location.reload()}>Look again</button>
    </p>`}
    ${proof && html`
      <p>Every event is a leaf of a hash tree whose root the newsroom signs. This page can see for itself that
        event ${event.position} is in the tree of ${proof.treeSize}, signed <${When} at=${log.checkpoint.signedAt} />: it
        hashes what is shown here, and asks no server.</p>
      ${canCheck()
        ? html`<p><button type="button" class="button strong" onClick=${async () => setSteps(await check(event, log))}>
            Check the proof in this browser</button></p>`
        : html`<p class="notice">This browser hashes only on pages that come by https, or from this machine itself. Open
            this page so, or check offline: <code>onrecord prove ${event.position}</code>.</p>`}
      <div role="status">${steps && html`<${Checked} position=${event.position} steps=${steps} />`}</div>
      <details class="materials">
        <summary>What is hashed and signed</summary>
        <dl class="stack">
          <dt>Leaf: the event, with the hash of its content in its place</dt><dd><pre class="raw" dir="ltr">${leaf}</pre></dd>
          <dt>Path from the leaf, number ${proof.index} from 0, to the root</dt>
          <dd>${proof.hashes.length === 0 && 'None: the leaf is the root.'}
            <ol class="hashes">${proof.hashes.map((hash) => html`<li key=${hash}><code>${hash}</code></li>`)}</ol></dd>
          <dt>Checkpoint: origin, number of events, root, signature</dt>
          <dd><pre class="raw" dir="ltr">${log.checkpoint.note}</pre></dd>
          <dt>Key</dt><dd><code>${log.verifierKey}</code></dd>
        </dl>
      </details>`}
  </section>`;
}

const STEPS = { payload: 'Content', leaf: 'Leaf', path: 'Path', signature: 'Signature' };
/** Sign, word and name in the style sheet for what came of a step. */
const RESULTS = new Map([
  [true, ['✓', 'passed', 'asserted']],
  [false, ['✗', 'failed', 'denied']],
  [null, ['–', 'not checked', 'unverified']],
]);

/** What came of each step, as plainly where it failed. */
function Checked({ position, steps }) {
  const failed = steps.some(({ passed }) => passed === false);
  const whole = steps.every(({ passed }) => passed);
  const name = failed ? 'denied' : whole ? 'asserted' : 'unverified';
  return html`<div class="checked ${name}">
    <p class="outcome">
      ${failed && 'Not proven: what is shown here is not what was signed.'}
      ${whole && `Checked in your browser: event ${position} is in the log that was signed.`}
      ${!failed && !whole && `Checked in your browser: event ${position} is in the tree; who signed it was not checked.`}
    </p>
    <ol>${steps.map((step) => html`<${Result} key=${step.name} step=${step} />`)}</ol>
    ${!failed && html`<p class="small muted">The key came from this service. Compare it with the one that the newsroom
      publishes elsewhere.</p>`}
  </div>`;
}

function Result({ step: { name, passed, told } }) {
  const [mark, word, hue] = RESULTS.get(passed);
  return html`<li>
    <span class="result ${hue}"><span aria-hidden="true">${mark}</span> ${STEPS[name]} ${word}<${Hidden}>:<//></span>
    ${' '}<span>${told}</span>
  </li>`;
}
