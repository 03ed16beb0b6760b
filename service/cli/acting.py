"""Who acts, when a command records something."""

import os
import pwd


def actor() -> str:
    """`cli:<user>`: the operating system's name for who runs this, whatever the environment says."""
    uid = os.getuid()
    try:
        return f"cli:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"cli:uid-{uid}"
