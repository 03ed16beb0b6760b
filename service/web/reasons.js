// Why a policy gives a claim its state, in words.

import { count, stateWord } from './parts.js';

const REASONS = {
  RETRACTED: 'Every article that spoke of it was retracted or speaks of it no more.',
  ONLY_WITHHELD: 'Nobody takes a side.',
  CONFLICT: 'Some assert it and some deny it, and one who dissents is enough to leave it open.',
  TOO_FEW_SPEAKERS: 'Fewer speakers take a side than the policy asks for.',
  OUTWEIGHED_BY_DOUBT: 'Too many withhold for those who take a side.',
  UNCORROBORATED: 'All who take a side take the same, but they come from fewer than two blocs.',
  UNCONTRADICTED: 'All who take a side take the same.',
  TIED: 'As many assert it as deny it.',
  OUTVOTED: 'The side with more speakers decides.',
  LATEST_WORD: 'Who took a side last decides.',
  DENIED_BY_ANY: 'One denial is enough.',
  RULED: 'An editor set it, whatever the policy says.',
};

/** Why, as a sentence. */
export const reasonWords = (reason) => REASONS[reason];

/** State and tallies as a sentence: "Unverified: 3 assert, 2 deny." */
export function verdict({ state, asserting, denying, withholding }) {
  const sides = [
    [asserting, 'asserts', 'assert'],
    [denying, 'denies', 'deny'],
    [withholding, 'withholds', 'withhold'],
  ].filter(([number]) => number > 0);
  const said = sides.map(([number, one, many]) => count(number, one, many)).join(', ');
  return `${stateWord(state)}: ${said || 'nobody stands on it'}.`;
}
