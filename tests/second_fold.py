"""The beliefs that follow from the seed articles, worked out a second time: not a line is shared with `service/`.

    python tests/second_fold.py seeds/*.json

Only for articles whose dates are days, each in its first revision, none retracted.
"""

import json
import sys
from pathlib import Path

POLICIES = ("unanimous", "corroborated", "majority", "latest", "any_denial")


def beliefs(documents):
    """policy -> claim -> (state, reason), after `documents` were recorded in this order."""
    said = {}  # claim -> speaker -> all that this speaker said of it
    for number, document in enumerate(documents):
        published, ordinal = document["published_at"], 0
        for claim in document["claims"]:
            for statement in claim["statements"]:
                speaker = statement.get("speaker") or {"id": "outlet:" + document["outlet"]["id"]}
                day = min(statement.get("said_at") or published, published)
                entry = (day, published, number, ordinal, statement["stance"], speaker.get("bloc"))
                said.setdefault(claim["claim"], {}).setdefault(speaker["id"], []).append(entry)
                ordinal += 1
    stands = {claim: [max(each, key=lambda e: e[:4]) for each in of.values()] for claim, of in said.items()}
    return {policy: {claim: verdict(policy, of) for claim, of in stands.items()} for policy in POLICIES}


def verdict(policy, stands):
    yes = [each for each in stands if each[4] == "asserts"]
    no = [each for each in stands if each[4] == "denies"]
    if not yes and not no:
        return "unverified", "ONLY_WITHHELD"
    if not yes or not no:
        if policy == "corroborated" and len({each[5] for each in yes + no} - {None}) < 2:
            return "unverified", "UNCORROBORATED"
        return "asserted" if yes else "denied", "UNCONTRADICTED"
    if policy == "any_denial":
        return "denied", "DENIED_BY_ANY"
    if policy == "latest":
        return "asserted" if max(yes) > max(no) else "denied", "LATEST_WORD"
    if policy == "majority" and len(yes) != len(no):
        return "asserted" if len(yes) > len(no) else "denied", "OUTVOTED"
    return "unverified", "TIED" if policy == "majority" else "CONFLICT"


if __name__ == "__main__":
    sent = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    print(json.dumps(beliefs(sent), indent=1))
