// What one may ask to begin with, each as a tab of GraphiQL.

export const EXAMPLES = [
  `# Claims with what is believed of each, and because of whom. Run it with Ctrl+Enter.
query ClaimsWithReasons {
  claims(first: 10) {
    totalCount
    byState { asserted denied unverified }
    nodes {
      slug
      proposition
      belief {
        state
        reason
        asserting
        denying
        withholding
        because(first: 3) {
          nodes { stance quote speaker { name } article { url headline } }
        }
      }
    }
  }
}`,
  `# One claim with its history on both axes: as we learned of it, and as it was said.
query HistoryOnBothAxes {
  claim(slug: "troops-withdrawing") {
    proposition
    recorded: history(axis: RECORDED) {
      nodes { position recordedAt from to reason retroactive event { actor } }
    }
    said: history(axis: SAID) {
      nodes { effectiveAt from to reason }
    }
  }
}`,
  `# What was believed as of a position, and what had been said by a day.
query AsOf {
  then: claim(slug: "troops-withdrawing", asOf: { position: 1 }) {
    belief { state reason asserting denying withholding }
  }
  saidByThen: claim(slug: "troops-withdrawing", asOf: { saidBy: "2022-02-15" }) {
    belief { state reason asserting denying withholding }
  }
  now: claim(slug: "troops-withdrawing") {
    belief { state reason asserting denying withholding }
  }
}`,
  `# Which claims came to another state or reason between two positions, and why.
query Changes {
  changes(from: 1, first: 20) {
    nodes {
      slug
      before { state reason }
      after { state reason }
      transitions(first: 10) {
        nodes {
          position
          to
          reason
          moves(first: 5) { nodes { speaker { name } from { stance } to { stance quote } } }
        }
      }
    }
  }
}`,
  `# The newest events, each with the proof that it is in the log that was signed.
query EventsWithProofs {
  log { head origin verifierKey checkpoint { treeSize root note } }
  events(last: 5) {
    nodes {
      position
      type
      recordedAt
      actor
      payloadSha256
      leaf
      inclusionProof { index treeSize hashes }
    }
  }
}`,
  `# Every change of a belief from the beginning of the log, and then each as it happens.
subscription Transitions {
  transitions(after: "0") {
    cursor
    slug
    from
    to
    reason
    effectiveAt
  }
}`,
];
