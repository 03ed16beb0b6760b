// The entry: which screen the URL names, its one question, and what stands around every screen.

import { TimeBar, useNews } from './bar.js';
import { ask, Refused, unreachable } from './graphql.js';
import { html, render, useEffect, useErrorBoundary, useLayoutEffect, useMemo, useRef, useState } from './html.js';
import { Failure, Loading, NotFound } from './parts.js';
import { go, here, isPast, leave, link } from './place.js';

/** Each is loaded when it is first gone to, so that the first view is small. */
const SCREENS = {
  '': () => import('./claims.js'),
  claim: () => import('./claim.js'),
  article: () => import('./article.js'),
  speaker: () => import('./speaker.js'),
  compare: () => import('./compare.js'),
  log: ({ slug }) => (slug ? import('./event.js') : import('./log.js')),
};
const NAVIGATION = [
  ['Claims', '/', ['', 'claim', 'article', 'speaker']],
  ['Compare', '/compare', ['compare']],
  ['Log', '/log', ['log']],
];

/** What a place shows: its screen with the answer, or why there is none. */
async function view(place, signal) {
  const enter = Object.hasOwn(SCREENS, place.screen) && SCREENS[place.screen];
  if (!enter) return { place };
  try {
    const screen = await enter(place).catch(notLoaded);
    const answer = await ask(screen.query, screen.variables(place), { signal });
    return { place, screen, answer };
  } catch (failure) {
    if (failure.name === 'AbortError') throw failure;
    return { place, failure: failure instanceof Refused ? failure : unforeseen(failure) };
  }
}

/** A module that cannot be fetched is no other than an answer that cannot. */
function notLoaded(failure) {
  throw failure instanceof TypeError ? unreachable() : failure;
}

const unforeseen = (error) => new Refused('UNFORESEEN', `The explorer has a fault: ${error.message}`);

/** What is shown, and whether something newer has been asked for. */
function useView() {
  const [asked, setAsked] = useState(() => ({ place: here() }));
  const [shown, setShown] = useState(null);

  useEffect(() => {
    // Who goes to another part of the page asks for nothing new.
    const moved = () => setAsked((asked) => (asked.place.href === here().href ? asked : { place: here() }));
    window.addEventListener('popstate', moved);
    return () => window.removeEventListener('popstate', moved);
  }, []);
  useEffect(() => {
    const stop = new AbortController();
    view(asked.place, stop.signal).then(
      (found) => !stop.signal.aborted && setShown({ ...found, asked }),
      () => {},
    );
    return () => stop.abort();
  }, [asked]);
  return [shown, shown?.asked !== asked, () => setAsked({ place: here() })];
}

function App() {
  const [shown, waiting, askAgain] = useView();
  const main = useRef(null);
  const place = shown?.place ?? here();
  const path = `${place.screen}/${place.slug}`;
  const before = useRef(null);
  // News draws the bar anew, and the screen stays as it is, with whatever is being typed there.
  const content = useMemo(() => (shown ? html`<${Content} key=${path} shown=${shown} />` : html`<${Loading} />`), [shown]);
  const news = useNews(shown?.answer && !isPast(place) ? shown.answer : null);

  // Before it is painted, or it would be seen to change.
  useLayoutEffect(() => {
    document.documentElement.toggleAttribute('data-past', isPast(place));
    if (!shown) return;
    document.title = `${titleOf(shown)} · Onrecord`;
    const from = before.current;
    before.current = place;
    // What is asked once more, for what came since, stays where it is.
    if (from?.href === place.href) return;
    const moved = !from || from.screen !== place.screen || from.slug !== place.slug;
    if (moved && from) main.current.focus({ preventScroll: true });
    // Who comes back is where they left; another page of a list begins at the list; another screen at its top.
    const left = history.state?.scroll;
    const list = document.getElementById(location.hash.slice(1));
    if (left !== undefined) window.scrollTo(0, left);
    else if (list) list.scrollIntoView();
    else if (moved) window.scrollTo(0, 0);
  }, [shown]);

  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <header class="top">
      <div class="wide row spread">
        <a class="brand" href=${link('/')}>Onrecord</a>
        <nav class="row" aria-label="Screens">
          ${NAVIGATION.map(
            ([name, href, screens]) =>
              html`<a key=${href} href=${link(href)} aria-current=${screens.includes(place.screen) ? 'page' : undefined}>${name}</a>`,
          )}
        </nav>
      </div>
    </header>
    <${TimeBar} place=${place} answer=${shown?.answer} news=${news} show=${askAgain} />
    <div class="progress ${waiting ? 'on' : ''}" aria-hidden="true"></div>
    <main id="main" class="wide" tabindex="-1" ref=${main} aria-busy=${waiting}>
      ${content}
    </main>
    <footer class="bottom">
      <div class="wide row spread small muted">
        <span>“Asserted” means asserted and not contradicted. It never means true.</span>
        <a href="/graphql" data-elsewhere>GraphQL</a>
      </div>
    </footer>
  `;
}

function Content({ shown }) {
  const { place, screen, answer } = shown;
  const [broken] = useErrorBoundary();
  const failure = broken ? unforeseen(broken) : shown.failure;
  if (failure) return html`<${Failure} failure=${failure} />`;
  if (!screen) return html`<${NotFound} what="There is no such page." />`;
  return html`<${screen.Screen} data=${answer.data} log=${answer.log} place=${place} />`;
}

function titleOf({ screen, answer, failure, place }) {
  if (failure) return 'This cannot be shown';
  return screen ? screen.title(answer.data, place) : 'Not on record';
}

/** Links within the explorer need no new page. */
function followed(event) {
  const anchor = event.target.closest?.('a[href]');
  if (!anchor || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
    return;
  const href = anchor.getAttribute('href');
  if (!href.startsWith('/') || anchor.target || 'elsewhere' in anchor.dataset) return;
  event.preventDefault();
  if (href !== here().href) go(href);
}

document.addEventListener('click', followed);
window.addEventListener('pagehide', leave);
// What is scrolled to comes with an answer, later than the browser would look for it.
history.scrollRestoration = 'manual';
render(html`<${App} />`, document.getElementById('app'));
