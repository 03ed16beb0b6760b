// Drawings along a time: the lane of a claim's states, and the track of a speaker's stances.
// They are for the eye alone. What they show stands as text beside them, and says so where they are used.

import { html } from './html.js';
import { hue, moment, sign, stateWord } from './parts.js';

/** The levels of a lane, from its top, and how far they are apart, in pixels. */
const LEVELS = ['ASSERTED', 'UNVERIFIED', 'DENIED'];
const STEP = 34;
const HALF = STEP / 2;
/** What stays free at both ends of a scale, in parts of its width. */
const MARGIN = 0.06;
/** How near two labels may come, in percent. */
const LABELS_APART = 17;
/** How far marks of one instant stand apart, in pixels. */
const MARKS_APART = 16;

/**
 * Where instants stand along a line as wide as it is given: a function to percent.
 * @param {string[]} instants at least one
 */
export function scaleOf(instants) {
  const times = instants.map(Date.parse);
  const [first, last] = [Math.min(...times), Math.max(...times)];
  if (first === last) return () => 50;
  return (at) => 100 * (MARGIN + ((1 - 2 * MARGIN) * (Date.parse(at) - first)) / (last - first));
}

/** Each mark with how far it is moved aside, so that marks of one instant can be told apart. */
function apart(marks) {
  const seen = new Map();
  for (const { at } of marks) seen.set(at, (seen.get(at) ?? 0) + 1);
  const before = new Map();
  return marks.map((mark) => {
    const index = before.get(mark.at) ?? 0;
    before.set(mark.at, index + 1);
    const width = MARKS_APART * Math.min(1, 6 / seen.get(mark.at));
    return { ...mark, aside: (index - (seen.get(mark.at) - 1) / 2) * width };
  });
}

function Mark({ of, x, y, aside, title, href }) {
  const drawn = html`<title>${title}</title><circle r="9" /><text dy="0.35em">${sign(of)}</text>`;
  return html`<svg x="${x}%" y=${y} overflow="visible">
    <g class="mark ${hue(of)}" transform="translate(${aside} 0)">
      ${href ? html`<a href=${href} tabindex="-1">${drawn}</a>` : drawn}
    </g>
  </svg>`;
}

/**
 * The state of a claim over time, one mark for each transition.
 * @param {{transitions: {at: string, to: string | null, title: string, href: string}[], scale: (at: string) => number}} _
 */
export function Lane({ transitions, scale }) {
  const level = (state) => HALF + STEP * LEVELS.indexOf(state);
  const marks = apart(transitions);
  return html`<div class="lane" aria-hidden="true">
    <div class="levels">${LEVELS.map((state) => html`<span key=${state} class=${hue(state)}>${sign(state)} ${stateWord(state)}</span>`)}</div>
    <div>
      <svg class="drawing" width="100%" height=${STEP * LEVELS.length}>
        ${LEVELS.map((state) => html`<line key=${state} class="rule" x1="0" x2="100%" y1=${level(state)} y2=${level(state)} />`)}
        ${transitions.map(({ at, to }, index) => {
          const next = transitions[index + 1];
          const [x1, x2] = [`${scale(at)}%`, next ? `${scale(next.at)}%` : '100%'];
          return html`
            ${to && html`<line class="held ${hue(to)}" x1=${x1} x2=${x2} y1=${level(to)} y2=${level(to)} />`}
            ${to && next?.to && html`<line class="moved" x1=${x2} x2=${x2} y1=${level(to)} y2=${level(next.to)} />`}
          `;
        })}
        ${marks.map(({ at, to, aside, title, href }) =>
          to && html`<${Mark} of=${to} x=${scale(at)} y=${level(to)} aside=${aside} title=${title} href=${href} />`)}
      </svg>
      <${Axis} instants=${transitions.map(({ at }) => at)} scale=${scale} />
    </div>
  </div>`;
}

/** As many of the instants as have room beside each other, with seconds where minutes do not tell them apart. */
function Axis({ instants, scale }) {
  const seconds = new Set(instants.map((at) => moment(at))).size < new Set(instants).size;
  const labels = [];
  for (const at of [...instants].sort()) {
    const x = scale(at);
    if (!labels.length || x - labels.at(-1).x >= LABELS_APART) labels.push({ x, words: moment(at, { seconds }).split(', ') });
  }
  return html`<svg class="axis" width="100%" height="22">
    ${labels.map(({ x, words: [day, time] }, index) => {
      const anchor = x < LABELS_APART ? 'start' : x > 100 - LABELS_APART ? 'end' : 'middle';
      const inner = index > 0 && index < labels.length - 1;
      // A day is said once.
      const again = time && day === labels[index - 1]?.words[0];
      return html`<g class=${inner ? 'inner' : undefined}>
        <line x1="${x}%" x2="${x}%" y1="0" y2="5" />
        <text x="${x}%" y="18" text-anchor=${anchor}>${again ? time : [day, time].filter(Boolean).join(', ')}</text>
      </g>`;
    })}
  </svg>`;
}

/**
 * One speaker's stances on one claim, in order of when they were said.
 * @param {{stances: {at: string, stance: string, title: string}[], scale: (at: string) => number}} _
 */
export function Track({ stances, scale }) {
  const last = stances.at(-1);
  return html`<svg class="track" width="100%" height="28" aria-hidden="true">
    <line class="rule" x1="0" x2="100%" y1="14" y2="14" />
    ${stances.map(({ at, stance }, index) => {
      const next = stances[index + 1];
      return html`<line class="held ${hue(stance)}" x1="${scale(at)}%" x2=${next ? `${scale(next.at)}%` : '100%'} y1="14" y2="14" />`;
    })}
    ${last && apart(stances).map(({ at, stance, aside, title }) =>
      html`<${Mark} of=${stance} x=${scale(at)} y="14" aside=${aside} title=${title} />`)}
  </svg>`;
}
