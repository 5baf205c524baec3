#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Makes the package where there is no pip: python3 make_package.py FOLDER writes FOLDER/pasid.

It takes protoc (Debian: protobuf-compiler). Whoever imports the package needs python3-protobuf, no older than that.
"""

import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROTOCOL = HERE.parents[1] / "proto"


def make_messages(package: pathlib.Path) -> None:
    """pasid_pb2.py and pasid_pb2.pyi, in the folder of the package."""
    if not (PROTOCOL / "pasid.proto").exists():
        raise SystemExit(f"{PROTOCOL / 'pasid.proto'} is not there: the package is made in a checkout of pasidd")
    try:
        subprocess.run(
            ["protoc", f"--proto_path={PROTOCOL}", f"--python_out={package}", f"--pyi_out={package}", "pasid.proto"],
            check=True,
        )
    except FileNotFoundError:
        raise SystemExit("there is no protoc; on Debian: apt-get install protobuf-compiler") from None


def make_package(folder: pathlib.Path) -> None:
    """The whole package as FOLDER/pasid."""
    package = folder / "pasid"
    package.mkdir(parents=True, exist_ok=True)
    for file in (HERE / "pasid").iterdir():
        if file.suffix == ".py" or file.name == "py.typed":
            shutil.copyfile(file, package / file.name)
    make_messages(package)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    make_package(pathlib.Path(sys.argv[1]))
