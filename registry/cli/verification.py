"""`moorage audit verify`: whether an audit trail, read from files, is whole and as it was written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from registry.access.audit.verification import NoTrail, ProcessReport, Report, Verification
from registry.cli.exits import Exit, told
from registry.cli.options import JsonOption
from registry.cli.rendering import as_json as rendered_json
from registry.model.quoting import printable
from registry.work.documents import plain

_STDIN = "-"
_LONGEST = 1 << 20  # bytes of a line


def add_audit(app: typer.Typer) -> None:
    """Offer the command, beside what the table of operations has for the same noun."""
    help_text = "What was done, by whom, and which rule decided it."
    known = [group.typer_instance for group in app.registered_groups if group.name == "audit"]
    noun = known[0] if known and known[0] is not None else typer.Typer(no_args_is_help=True)
    noun.info.help = help_text
    if not known:
        app.add_typer(noun, name="audit")

    @noun.command()
    def verify(
        files: Annotated[
            list[str],
            typer.Argument(
                metavar="FILE...",
                help="Audit files or logs, rotated ones too, in any order; - is standard input.",
                show_default=False,
            ),
        ],
        partial: Annotated[
            bool,
            typer.Option("--partial", help="Do not ask for what was before the first line of a process."),
        ] = False,
        as_json: JsonOption = False,
    ) -> None:
        """Say whether lines of the audit trail are missing, altered, added or moved."""
        with told(as_json=as_json):
            report = _read(files, partial=partial)
        if as_json:
            document = {"sound": report.sound, **_document(report)}
            print(rendered_json(document))
        else:
            print("\n".join(_lines(report)))
        raise typer.Exit(Exit.DONE if report.sound else Exit.DAMAGED)


def _read(files: list[str], *, partial: bool) -> Report:
    verification = Verification(partial=partial)
    for name in files:
        if name == _STDIN:
            verification.read(name, _pieces(sys.stdin.buffer))
            continue
        try:
            with Path(name).open("rb") as file:
                verification.read(name, _pieces(file))
        except OSError as error:
            raise NoTrail(f"{name} cannot be read: {error.strerror}") from error
    report = verification.report()
    if not report.processes:
        raise NoTrail(f"there is no line of an audit trail in {', '.join(files)}")
    return report


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; one that is too long for a line of ours comes in pieces."""
    return iter(lambda: file.readline(_LONGEST), b"")


def _document(report: Report) -> dict[str, object]:
    document = plain(report)
    assert isinstance(document, dict)
    return document


def _lines(report: Report) -> Iterator[str]:
    for process in report.processes:
        yield printable(_told(process))
    for name in report.truncated:
        yield printable(f"{name}: ends in the middle of a line")
    if report.torn:
        # No fault of the trail by themselves: what a line of ours among them held is missing above.
        yield f"lines that are not whole: {report.torn} (what was cut off while it was written)"
    yield "the trail is whole" if report.sound else "THE TRAIL IS NOT WHOLE"


def _told(process: ProcessReport) -> str:
    lost = f" (the process said that it could not write {process.lost})" if process.lost else ""
    parts = [
        f"process {process.process}, from {process.begun}:",
        f"lines {process.first} to {process.last}",
        "and its end" if process.ended else "and no end: it runs, was killed, or its end was cut off",
    ]
    wrong: dict[str, int | list[int]] = {
        "earlier lines not asked for": process.earlier,
        f"MISSING{lost}": process.missing,
        "ALTERED": process.altered,
        "NOT ON THE LINE BEFORE": process.broken,
        "OUT OF ORDER": process.disordered,
    }
    told_wrong = [f"{what}: {_number(value)}" for what, value in wrong.items() if value]
    return "; ".join([" ".join(parts), *told_wrong, f"last hash {process.head}"])


def _number(value: int | list[int]) -> str:
    return str(value) if isinstance(value, int) else ", ".join(map(str, value))
