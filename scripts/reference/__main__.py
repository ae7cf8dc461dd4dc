"""
Write the reference parts of the documents and the man page again: `make reference`.

What they say is declared once, where rotator itself uses it: in the schema of the configuration,
the model of a report, the options of commands, and the tables of exit codes, verdicts, places,
outcomes and metrics. Here it only gets the form of a page. A part of a document stands between two
lines, `<!-- reference: NAME -->` and `<!-- end -->`; what is around them is written by hand.
"""

from __future__ import annotations

from reference.manual import MAN_PAGE, manual
from reference.pages import PAGES, renewed


def main() -> None:
    """Write what has changed, and say which files."""
    wanted = {page: renewed(page.read_text("utf-8")) for page in PAGES} | {MAN_PAGE: manual()}
    for path, text in wanted.items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
