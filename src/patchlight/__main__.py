"""`python -m patchlight VERB ...`: every console command by its verb, also under torchrun."""

from __future__ import annotations

import sys
from importlib import import_module

from patchlight import __version__
from patchlight.system.job_record import leave_out_current_folder

VERBS = {
    "train": "train",
    "eval": "evaluate",
    "translate": "translate",
    "export": "export",
    "import": "import_weights",
    "report": "report",
    "doctor": "doctor",
    "shard": "shard",
    "demo": "demo",
    "bench": "bench",
    "download": "download",
    "workspace": "workspace",
}
"""The verbs, each with its module in `patchlight.cli`."""


def main() -> None:
    """Run the command that the first argument names; the others are its own."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb not in VERBS:
        usage = f"usage: python -m patchlight VERB ..., where VERB is one of: {', '.join(VERBS)}"
        if verb in ("-h", "--help", "--version"):
            print(usage if verb != "--version" else f"patchlight {__version__}")
            return
        print(f"{verb!r} is no verb; {usage}" if verb else usage, file=sys.stderr)
        raise SystemExit(2)
    leave_out_current_folder()
    sys.argv[:2] = [f"patchlight-{verb}"]
    import_module(f"patchlight.cli.{VERBS[verb]}").main()


if __name__ == "__main__":
    main()
