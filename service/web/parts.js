// What the screens are made of.

import { given } from './graphql.js';
import { html } from './html.js';
import { claimLink, link, paged } from './place.js';

/** Sign and word of each state and stance: colour alone never says it. */
const STATES = {
  ASSERTED: ['+', 'Asserted'],
  DENIED: ['−', 'Denied'],
  UNVERIFIED: ['?', 'Unverified'],
};
const STANCES = {
  ASSERTS: ['+', 'asserts', 'asserted'],
  DENIES: ['−', 'denies', 'denied'],
  WITHHOLDS: ['?', 'withholds', 'unverified'],
};

/** The word for a state, such as "Asserted". */
export const stateWord = (state) => STATES[state][1];
/** The sign of a state or of a stance. */
export const sign = (of) => (STATES[of] ?? STANCES[of])[0];
/** The name that a state or stance has in the style sheet. */
export const hue = (of) => STANCES[of]?.[2] ?? of.toLowerCase();
/** A count with its noun: "1 claim", "2 claims". */
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString('en')} ${number === 1 ? one : many}`;

export function StateChip({ state }) {
  if (!state) return html`<span class="chip none">Not there</span>`;
  return html`<span class="chip ${hue(state)}"><span aria-hidden="true">${sign(state)}</span> ${stateWord(state)}</span>`;
}

export function StanceChip({ stance }) {
  const [mark, word, name] = STANCES[stance];
  return html`<span class="chip stance ${name}"><span aria-hidden="true">${mark}</span> ${word}</span>`;
}

/** For screen readers only. */
export const Hidden = ({ children }) => html`<span class="hidden">${children}</span>`;

/** How many speakers stand at each stance: a bar for the eye, the numbers for everybody. */
export function Tally({ belief }) {
  const sides = [
    ['asserted', belief.asserting, 'assert', 'asserts'],
    ['denied', belief.denying, 'deny', 'denies'],
    ['unverified', belief.withholding, 'withhold', 'withholds'],
  ];
  return html`<span class="tally">
    <${Shares} of=${sides.map(([name, number]) => [name, number])} />
    <span class="numbers">
      ${sides.map(
        ([name, number, many, one], index) => html`<span class="${name} ${number ? '' : 'zero'}">
          <span aria-hidden="true">${'+−?'[index]}${number.toLocaleString('en')}</span>
          <${Hidden}>${count(number, one, many)}${index < 2 ? ', ' : ''}<//>
        </span>`,
      )}
    </span>
  </span>`;
}

/** Numbers as parts of one bar: pairs of a name in the style sheet and a number. */
export function Shares({ of }) {
  const sum = of.reduce((before, [, number]) => before + number, 0) || 1;
  let begun = 0;
  return html`<svg class="shares" width="100%" height="6" aria-hidden="true">
    <rect class="none" width="100%" height="6" />
    ${of.map(([name, number]) => {
      const from = begun;
      begun += (100 * number) / sum;
      return number > 0 && html`<rect class=${name} x="${from}%" width="${(100 * number) / sum}%" height="6" />`;
    })}
  </svg>`;
}

const DAY = { day: 'numeric', month: 'short', year: 'numeric' };
const INSTANT = new Intl.DateTimeFormat('en-GB', { ...DAY, hour: '2-digit', minute: '2-digit' });
const WITH_SECONDS = new Intl.DateTimeFormat('en-GB', { ...DAY, hour: '2-digit', minute: '2-digit', second: '2-digit' });
const DATE = new Intl.DateTimeFormat('en-GB', { ...DAY, timeZone: 'UTC' });
/** The last microsecond of a day in UTC: what a bare date comes to as an instant. */
const END_OF_DAY = /T23:59:59\.999999(Z|\+00:00)$/;

/** A moment as the reader's clock has it; a date, which has no zone, as it is. */
export function moment(at, { seconds = false } = {}) {
  if (/^\d{4}-\d{2}-\d{2}$/.test(at) || END_OF_DAY.test(at)) return DATE.format(new Date(`${at.slice(0, 10)}T00:00:00Z`));
  return (seconds ? WITH_SECONDS : INSTANT).format(new Date(at));
}

/** A moment in the reader's zone, with UTC where the pointer rests on it. */
export function When({ at, seconds }) {
  if (!at) return null;
  const date = /^\d{4}-\d{2}-\d{2}$/.test(at);
  const utc = date
    ? `${at}, a date without a time`
    : END_OF_DAY.test(at)
      ? `by the end of ${at.slice(0, 10)} UTC`
      : `${at.replace('T', ' ').replace(/(\.\d+)?(Z|\+00:00)$/, '')} UTC`;
  return html`<time datetime=${at} title=${utc}>${moment(at, { seconds })}</time>`;
}

/** From how many characters on a proposition is no headline. */
const LONG = 200;
/** The name in the style sheet for a text that is too long to be shown like others. */
export const length = (text) => (text.length > LONG ? 'long' : '');

/** What is claimed, leading to it. In a list a very long one is cut; the claim's own page has the whole. */
export const Proposition = ({ claim: { slug, proposition } }) =>
  html`<a class="proposition ${length(proposition)}" dir="auto" href=${claimLink(slug)}>${proposition}</a>`;

/** Words as they were printed. */
export const Quote = ({ text, lang }) => html`<q class="quote" dir="auto" lang=${lang || undefined}>${text}</q>`;

/** A link that leaves the explorer; of what is not http(s) the text alone. */
export function Outside({ url, children }) {
  if (!/^https?:\/\//i.test(url)) return html`<span class="address">${children ?? url}</span>`;
  return html`<a class="outside" href=${url} rel="noopener noreferrer nofollow">${children ?? url}
    <span aria-hidden="true"> ↗</span><${Hidden}> (another site)<//></a>`;
}

/**
 * Older and newer pages of a list, by cursor. `names` are the parameters of the URL that hold the cursors: where to go
 * on after, and where to stop before. `list` is the id of what the page of the list begins with.
 */
export function Pager({ pageInfo, label, list, names = ['after', 'before'], words = ['Newer', 'Older'] }) {
  const { hasPreviousPage, hasNextPage, startCursor, endCursor } = pageInfo;
  if (!hasPreviousPage && !hasNextPage) return null;
  const [after, before] = names;
  return html`<nav class="pager" aria-label=${label}>
    ${hasPreviousPage
      ? html`<a class="button" rel="prev" href=${paged({ [before]: startCursor, [after]: null }, list)}>← ${words[0]}</a>`
      : html`<span />`}
    ${hasNextPage && html`<a class="button" rel="next" href=${paged({ [after]: endCursor, [before]: null }, list)}>${words[1]} →</a>`}
  </nav>`;
}

/** Several ways to see the same, of which one is chosen: triples of a word, where it leads, and whether it is that one. */
export const Choice = ({ label, of }) => html`<nav class="switch" aria-label=${label}>
  ${of.map(([word, href, chosen]) => html`<a key=${word} href=${href} aria-current=${chosen ? 'true' : undefined}>${word}</a>`)}
</nav>`;

/** The arguments of a connection for the cursors in the URL. */
export function pageOf(params, size, names = ['after', 'before']) {
  const [after, before] = names.map((name) => params.get(name));
  return before ? { last: size, before } : { first: size, after };
}

/** Nothing here, and what to do about it. */
export const Empty = ({ title, children }) => html`<div class="state">
  <p class="state-title">${title}</p>
  <div class="muted">${children}</div>
</div>`;

/** What is asked for is not on record. */
export const NotFound = ({ what }) => html`<div class="state">
  <h1>Not on record</h1>
  <p>${what} It may have come later than the moment that is shown, or have another name.</p>
  <p><a class="button" href=${link('/')}>See all claims</a></p>
</div>`;

const ADVICE = {
  UNREACHABLE: 'See that the service runs and that you are connected; then try again.',
  AS_OF_INVALID: 'Go to an earlier moment, or back to live.',
  NOT_YET_PROJECTED: 'It is recorded, and what follows from it is being worked out. Try again in a moment.',
  NOTHING_PROJECTED: 'Whoever runs the service starts its projector; then there is something to show.',
  DATABASE_UNREACHABLE: 'The service cannot reach its database. Try again in a moment.',
  BAD_CURSOR: 'The link is to a page of another list. Begin at its first page.',
  BAD_ARGUMENT: 'Something in the address is not as it must be. Begin with all claims.',
  BAD_QUERY: 'Something in the address is not as it must be. Begin with all claims.',
  TOO_BROAD: 'Narrow it down by a topic, a speaker or words; or leave out the state.',
  POLICY_INVALID: 'Choose one of the policies in the bar.',
  POLICY_NOT_PROJECTED: 'Choose one of the policies in the bar.',
  UNAUTHENTICATED: 'This record asks for a token: whoever runs the service gives it to you. It is kept for this tab alone.',
  INTERNAL: 'It is not your doing. Whoever runs the service finds what happened in its log.',
};

/** Why nothing can be shown, and what to do. */
export function Failure({ failure }) {
  const code = failure.code ?? 'UNFORESEEN';
  return html`<div class="state" role="alert">
    <h1>This cannot be shown</h1>
    <p>${failure.message}</p>
    ${ADVICE[code] && html`<p>${ADVICE[code]}</p>`}
    ${code === 'UNAUTHENTICATED' && html`<${Token} />`}
    <p class="row">
      <button class="button" type="button" onClick=${() => location.reload()}>Try again</button>
      <a class="button" href="/">All claims, live</a>
    </p>
    <p class="muted small">Code: <code>${code}</code></p>
  </div>`;
}

/** Where a token can be given. */
function Token() {
  function told(event) {
    event.preventDefault();
    given.token = new FormData(event.currentTarget).get('token').trim();
    location.reload();
  }

  return html`<form class="row" onSubmit=${told}>
    <label class="grow">Token
      <input type="password" name="token" autocomplete="off" spellcheck="false" placeholder="onrecord_…" /></label>
    <button class="button strong" type="submit">Read with it</button>
  </form>`;
}

/** Where something will be. The style sheet lets it appear only when it takes long. */
export const Loading = () => html`<div class="loading" role="status">
  <${Hidden}>Loading …<//>
  ${[0, 1, 2, 3, 4, 5].map((line) => html`<span key=${line} class="bone" />`)}
</div>`;
