"""Runs the Python blocks of one page, read as JSON from stdin, and writes the output of each as JSON."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
import types


def main() -> None:
    page, codes = json.load(sys.stdin)
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    outputs = []
    for number, code in enumerate(codes, 1):
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(code, f"{page}, block {number}", "exec"), module.__dict__)
        except BaseException:
            traceback.print_exc()
            sys.exit(f"{page}: block {number} failed:\n{code}")
        outputs.append(printed.getvalue())
    json.dump(outputs, sys.stdout)
    sys.stdout.flush()


main()
