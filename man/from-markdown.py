#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A manual page from a document in Markdown, so that what both say is written once.

usage: from-markdown.py NAME SECTION SUMMARY DOCUMENT >PAGE.scd

Knows what the documents use: headings, paragraphs, lists, code, tables, links, bold, emphasis. A table becomes a list of terms
when its first column names things; its title row is left out then. Anything else is an error and not a page that looks odd.
"""

import pathlib
import re
import sys

CODE = re.compile(r"`([^`]+)`")
BOLD = re.compile(r"\*\*([^*]+)\*\*")
EMPHASIS = re.compile(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])")
LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
SPECIAL = re.compile(r"[\\*]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
TERMS = ("key", "name", "what", "operation", "reason", "bytes", "feature")  # first columns that name things


def escaped(text):
    return SPECIAL.sub(r"\\\g<0>", text)


def inline(text):
    """The same words, marked as scdoc marks them; what stands in code is taken as it is."""
    kept = []

    def keep(mark, content):
        kept.append(f"{mark}{escaped(content)}{mark}")
        return f"\0{len(kept) - 1}\0"

    text = CODE.sub(lambda found: keep("*", found[1]), text)
    text = LINK.sub(lambda found: found[1], text)
    text = BOLD.sub(lambda found: keep("*", re.sub(r"\0(\d+)\0", lambda at: kept[int(at[1])].strip("*"), found[1])), text)
    text = EMPHASIS.sub(lambda found: keep("_", found[1]), text)
    text = escaped(text)
    for number in reversed(range(len(kept))):
        text = text.replace(f"\0{number}\0", kept[number])
    return text


def line(text):
    """A line of a paragraph, which must not begin like something else."""
    text = inline(text)
    return "\\" + text if text[:1] in "#-.|[]:`" else text


def cells(row):
    return [inline(cell.strip()) for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def table(rows):
    head, body = cells(rows[0]), [cells(row) for row in rows[2:]]
    if any(len(row) != len(head) for row in body):
        raise SystemExit(f"a table whose rows differ in length: {rows[0]}")
    if head[0] in TERMS and len(head) in (2, 3):
        for row in body:
            yield row[0] + (f" ({head[1]}: {row[1]})" if len(row) == 3 and row[1] else "")
            yield "\t" + row[-1]
            yield ""
        return
    for number, row in enumerate([head] + body):
        for column, cell in enumerate(row):
            mark = ("[" if number == 0 else "|") if column == 0 else ":"
            align = "<" if column == len(row) - 1 else "["
            yield f"{mark}{align} {cell}".rstrip()
    yield ""


def blocks(text):
    """(kind, lines) of each block that blank lines, or a change of kind, end."""
    pending = text.splitlines()[::-1]
    while pending:
        first = pending.pop()
        if not first.strip():
            continue
        if first.startswith("```"):
            lines = []
            while pending and not pending[-1].startswith("```"):
                lines.append(pending.pop())
            pending.pop()
            yield "code", lines
        elif first.startswith("    "):
            lines = [first[4:]]
            while pending and (pending[-1].startswith("    ") or not pending[-1].strip()):
                lines.append(pending.pop()[4:])
            yield "code", lines
        elif first.startswith("#"):
            yield "heading", [first]
        else:
            kind = "table" if first.startswith("|") else "list" if re.match(r"(-|\d+\.) ", first) else "text"
            lines = [first]
            while pending and pending[-1].strip() and not pending[-1].startswith("#"):
                if kind == "text" and re.match(r"- |\|", pending[-1]):
                    break
                lines.append(pending.pop())
            yield kind, lines


def page(text):
    for kind, lines in blocks(text):
        if kind == "heading":
            marks, title = lines[0].split(" ", 1)
            if len(marks) == 1:
                yield from ("# DESCRIPTION", "")
            else:
                yield from ("# " + title.upper() if len(marks) == 2 else "## " + title, "")
        elif kind == "code":
            yield from ("```", *[entry.replace("\t", "    ") for entry in lines], "```", "")
        elif kind == "table":
            yield from table(lines)
        elif kind == "list":
            for entry in lines:
                found = re.match(r"(-|\d+\.) (.*)", entry)
                mark = "- " if found and found[1] == "-" else ". "
                yield mark + inline(found[2]) if found else "  " + inline(entry.strip())
            yield ""
        else:
            yield from [line(entry.strip()) for entry in lines] + [""]


def main():
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    name, section, summary, document = sys.argv[1:]
    text = pathlib.Path(document).read_text(encoding="utf-8")
    print(f'{name}({section}) "" "pasidd"\n\n# NAME\n\n{name} - {summary}\n')
    print("\n".join(page(text)))


if __name__ == "__main__":
    main()
