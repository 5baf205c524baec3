# SPDX-License-Identifier: MIT
"""The set of PASIDs of a libvirt domain: made before the guest starts, taken away after its end.

/etc/libvirt/hooks/qemu.d/pasidd runs this as root with the domain's XML on standard input. A domain asks for a set in
its metadata:

  <metadata>
    <pasidd:set xmlns:pasidd="urn:pasidd:domain:1" quota="64"/>
  </metadata>

  name    of the set; default: the domain's name, or its UUID where that has other characters than a-z A-Z 0-9 . _ -
          or more than 64, or begins with -
  quota   how many numbers it may have; default: what the daemon's configuration says
  mode    translated (default), identity or guest-owned
  scope   global or rids; default: both
  owner   the user who is charged, by name or number; default: whom the domain runs as, else libvirt-qemu or qemu
  adopt   yes: a set of this name that is there already is taken, if its mode is the same; for one that was moved here

A domain without it is never refused. One with it does not start when its set cannot be made. What this made is recorded
by the set's id in /run/pasidd-libvirt/UUID, until it is gone: a set that somebody else made is never taken away.
"""

import json
import os
import pathlib
import pwd
import re
import subprocess
import sys
import xml.parsers.expat
from xml.etree import ElementTree

NAMESPACE = "{urn:pasidd:domain:1}"
RECORDS = pathlib.Path(os.environ.get("PASIDD_LIBVIRT_RECORDS", "/run/pasidd-libvirt"))
ATTRIBUTES = ("name", "quota", "mode", "scope", "owner", "adopt")
NAME = re.compile(r"[a-zA-Z0-9._][a-zA-Z0-9._-]{0,63}")  # one that began with - would be an option of pasidctl's
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SECONDS = 20  # libvirt waits for this


class Refused(Exception):
    """Why the guest may not start."""


def parse(text):
    """The tree of a domain. One with entities of its own is none of libvirt's, and could be made to fill memory."""
    guard = xml.parsers.expat.ParserCreate()

    def refuse(*_):
        raise Refused("its XML has a document type")

    guard.StartDoctypeDeclHandler = refuse
    try:
        guard.Parse(text, True)
        return ElementTree.fromstring(text)
    except (xml.parsers.expat.ExpatError, ElementTree.ParseError) as error:
        raise Refused(f"its XML cannot be read: {error}") from error


def owner_of(tree):
    """Whom the domain runs as, as far as it says; else the user of this distribution's libvirt."""
    for label in tree.findall("seclabel[@model='dac']/label"):
        user = (label.text or "").strip().split(":")[0].lstrip("+")
        if user:
            return user
    for user in ("libvirt-qemu", "qemu"):
        try:
            pwd.getpwnam(user)
            return user
        except KeyError:
            pass
    raise Refused("there is no user libvirt-qemu and no user qemu; say owner='USER'")


def uuid_of(tree):
    uuid = (tree.findtext("uuid") or "").strip().lower()
    if tree.tag != "domain" or not UUID.fullmatch(uuid):
        raise Refused("its XML is no domain with a UUID")
    return uuid


def wanted_of(tree, uuid):
    """What it asks for as a dictionary, or None."""
    asked = [entry for entry in tree.findall("metadata/*") if entry.tag.startswith(NAMESPACE)]
    if not asked:
        return None
    if len(asked) > 1 or asked[0].tag != NAMESPACE + "set" or len(asked[0]):
        raise Refused("its metadata has something else than one empty <set> of urn:pasidd:domain:1")
    wanted = dict(asked[0].attrib)
    unknown = sorted(wanted.keys() - set(ATTRIBUTES))
    if unknown:
        raise Refused(f"<pasidd:set> has no attribute {unknown[0]}; it has {', '.join(ATTRIBUTES)}")
    if wanted.setdefault("adopt", "no") not in ("yes", "no"):
        raise Refused("adopt of <pasidd:set> is yes or no")
    name = (tree.findtext("name") or "").strip()
    wanted.setdefault("name", name if NAME.fullmatch(name) else uuid)
    if not NAME.fullmatch(wanted["name"]):
        raise Refused("name of <pasidd:set> has 1 to 64 characters of a-z A-Z 0-9 . _ - and does not begin with -")
    wanted.setdefault("mode", "translated")
    if "owner" not in wanted:
        wanted["owner"] = owner_of(tree)
    return wanted


# ------------------------------------------------------------ the daemon


def pasidctl(*words):
    """What it answers, as (reason, answer): the reason is empty when it did what was asked."""
    command = ["pasidctl", "--timeout", str(SECONDS // 2), "--json", *words]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except OSError as error:
        raise Refused(f"pasidctl cannot be run: {error.strerror}; is it installed?") from error
    except subprocess.TimeoutExpired as error:
        raise Refused(f"pasidd does not answer within {SECONDS} seconds") from error
    said = ended.stderr.strip().removeprefix("pasidctl: ")
    if ended.returncode == 2:
        return "usage", said  # nothing was asked
    if ended.returncode not in (0, 1):
        raise Refused(said or f"pasidctl ended with {ended.returncode}")
    try:
        answer = json.loads(ended.stdout)
    except ValueError as error:
        raise Refused(said or "pasidctl said nothing") from error
    return (answer["reason"] if ended.returncode else ""), (answer if not ended.returncode else said)


def sets():
    """All that there are, but those that are on their way out, whose names are free again."""
    reason, answer = pasidctl("sets")
    if reason:
        raise Refused(answer)
    return [entry for entry in answer if not entry["dying"]]


# ------------------------------------------------------------ what was made


def record_path(uuid):
    return RECORDS / uuid


def recorded(uuid):
    """Id and name of the set that was made for a domain; without an id, one was about to be made.

    The name as well, because ids begin anew should the daemon lose its records.
    """
    try:
        record = json.loads(record_path(uuid).read_text())
        return record["id"], record["name"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def others():
    """Ids and names of what the other domains have."""
    return [recorded(entry.name) for entry in RECORDS.glob("[0-9a-f]*")]


def keep_record(uuid, name, number=None):
    """Whole or not at all, whatever ends us in between."""
    RECORDS.mkdir(mode=0o700, exist_ok=True)
    fresh = RECORDS / f".{uuid}"
    fresh.write_text(json.dumps({"id": number, "name": name}))
    fresh.rename(record_path(uuid))


def destroy(number, *options):
    """A set that may be gone already."""
    reason, said = pasidctl("set", "destroy", f"id:{number}", *options)
    if reason not in ("", "no-set"):
        raise Refused(said)


def take_away(uuid):
    """The set that was made for the domain, if there is one; what is in it goes with it.

    One that was about to be made when we were ended has nothing in it yet: it goes only if that is so, for the case that
    somebody else made one of this name in that moment.
    """
    made = recorded(uuid)
    for entry in sets() if made is not None else ():
        if made == (entry["id"], entry["name"]):
            destroy(entry["id"], "--force")
        elif made == (None, entry["name"]):
            destroy(entry["id"])
    record_path(uuid).unlink(missing_ok=True)


def adopt(uuid, wanted, there):
    """A set of this name is there already."""
    if wanted["adopt"] != "yes" or there["mode"] != wanted["mode"]:
        raise Refused(f"there is a set {there['name']} already, and it was not made for this domain: give another name, "
                      "`pasidctl set destroy` it, or say adopt='yes' if it was moved here with this mode")
    if (there["id"], there["name"]) in others():
        raise Refused(f"there is a set {there['name']} already. Another domain has it, and would lose it with the end of "
                      "this one: give another name")
    keep_record(uuid, there["name"], there["id"])


def make(uuid, wanted):
    """The set of a guest that starts now."""
    # What an earlier run of it left, whose end nobody saw.
    take_away(uuid)
    there = next((entry for entry in sets() if entry["name"] == wanted["name"]), None)
    if there is not None:
        adopt(uuid, wanted, there)
        return
    options = [f"--{key}={wanted[key]}" for key in ("mode", "quota", "scope", "owner") if key in wanted]
    # Before it is made, so that one whose id nobody learned is found again.
    keep_record(uuid, wanted["name"])
    reason, answer = pasidctl("set", "create", wanted["name"], *options)
    if reason:
        record_path(uuid).unlink()
        raise Refused(answer)
    keep_record(uuid, wanted["name"], answer["set"]["id"])


def main(words):
    if len(words) != 4:
        sys.exit("usage: qemu.py GUEST prepare|release begin|end - <DOMAIN")
    step = words[1:3]
    try:
        tree = parse(sys.stdin.read())
        uuid = uuid_of(tree)
        if step == ["release", "end"]:
            take_away(uuid)  # whatever it asks for by now: a running domain can be changed
        elif step == ["prepare", "begin"]:
            wanted = wanted_of(tree, uuid)
            if wanted is not None:
                make(uuid, wanted)
    except Refused as error:
        print(f"pasidd: domain {words[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
