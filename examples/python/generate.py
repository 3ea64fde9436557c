#!/usr/bin/env python3
"""Generates the Python client from ../../proto into generated/."""

import sys
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"
ROOTS = [PROTO / "shop", PROTO / "operations"]
GENERATED = HERE / "generated"


def main() -> int:
    """Runs protoc over every .proto file; returns its exit status."""
    files = sorted(str(path.relative_to(root)) for root in ROOTS for path in root.glob("saga/**/*.proto"))
    if not files:
        print(f"no .proto files under {PROTO}", file=sys.stderr)
        return 1
    GENERATED.mkdir(exist_ok=True)
    return protoc.main(
        [
            "protoc",
            *(f"--proto_path={root}" for root in ROOTS),
            f"--python_out={GENERATED}",
            f"--pyi_out={GENERATED}",
            f"--grpc_python_out={GENERATED}",
            *files,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
