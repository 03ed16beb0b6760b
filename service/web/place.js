// The URL is the whole state of what is shown: which screen, of what, at which moment, under which policy.

/**
 * @typedef {object} Place
 * @property {string} screen the first part of the path; empty for the claims
 * @property {string | null} slug the rest of the path, decoded
 * @property {string | null} at the position or instant of the record that is shown; null: now
 * @property {string | null} said only what was said by this moment counts
 * @property {string | null} policy null: the one in force
 * @property {URLSearchParams} params everything after the question mark
 * @property {string} href path and query, as they stand in the address bar
 */

/** What every link keeps: the moment that is shown and the policy. */
const KEPT = ['at', 'said', 'policy'];

/** @returns {Place} where the reader is */
export function here() {
  const params = new URLSearchParams(location.search);
  const [, screen, ...rest] = location.pathname.split('/');
  return {
    screen,
    slug: rest.length ? decoded(rest.join('/')) : null,
    at: params.get('at') || null,
    said: params.get('said') || null,
    policy: params.get('policy') || null,
    params,
    href: location.pathname + location.search,
  };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The moment that a place asks for, as GraphQL takes it. Null: now. */
export function asOf({ at, said }) {
  if (!at && !said) return null;
  const moment = {};
  if (at) {
    if (/^\d{1,15}$/.test(at)) moment.position = Number(at);
    else moment.recordedAt = at;
  }
  if (said) moment.saidBy = said;
  return moment;
}

/** Whether a place shows the past. */
export const isPast = ({ at, said }) => Boolean(at || said);

/**
 * A link within the explorer, at the moment and under the policy that are shown.
 * @param {string} path
 * @param {Record<string, string | number | boolean | null | undefined>} params null takes one away
 */
export function link(path, params = {}) {
  const given = new URLSearchParams(location.search);
  const kept = KEPT.filter((name) => given.get(name)).map((name) => [name, given.get(name)]);
  return withParams(path, new URLSearchParams(kept), params);
}

function withParams(path, query, params) {
  for (const [name, value] of Object.entries(params)) {
    if (value === null || value === undefined || value === '') query.delete(name);
    else query.set(name, String(value));
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** A link to the same screen with other parameters. Its lists begin anew: a cursor is of one moment and one filter. */
export function changed(params) {
  const given = new URLSearchParams(location.search);
  for (const name of [...given.keys()]) if (/(after|before)$/.test(name)) given.delete(name);
  return withParams(location.pathname, given, params);
}

/** A link to another page of one of the lists on this screen; `list` is its id, which is scrolled to. */
export const paged = (cursors, list) =>
  withParams(location.pathname, new URLSearchParams(location.search), cursors) + (list ? `#${list}` : '');

export const claimLink = (slug, params) => link(`/claim/${encodeURIComponent(slug)}`, params);
export const speakerLink = (slug, params) => link(`/speaker/${encodeURIComponent(slug)}`, params);
export const articleLink = (url, params) => link('/article', { url, ...params });
export const eventLink = (position, params) => link(`/log/${position}`, params);

/** Remembers how far down the reader is, for when they come back. */
export const leave = () => history.replaceState({ scroll: window.scrollY }, '');

/** Goes to a place of the explorer. */
export function go(href, { replace = false } = {}) {
  if (replace) history.replaceState(null, '', href);
  else {
    leave();
    history.pushState(null, '', href);
  }
  window.dispatchEvent(new PopStateEvent('popstate'));
}

/** Sends a form as a browser would by GET, without its empty fields, keeping the moment and the policy. */
export function submitted(event) {
  event.preventDefault();
  const form = event.currentTarget;
  go(link(new URL(form.action).pathname, Object.fromEntries(new FormData(form))));
}
