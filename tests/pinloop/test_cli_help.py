"""What the command says of itself fits a terminal, and durations are written one way everywhere."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from pinloop.cli import main
from pinloop.durations import Duration
from service.durations import text_of

COLUMNS = 80


def commands(group: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every command as the words that call it."""
    yield words
    for name, inner in getattr(group, "commands", {}).items():
        yield from commands(inner, (*words, name))


def command(words: tuple[str, ...]) -> click.Command:
    """Return the command that `words` call."""
    found: click.Command = main
    for word in words:
        assert isinstance(found, click.Group)
        found = found.commands[word]
    return found


@pytest.mark.parametrize("words", list(commands(main)), ids=lambda words: " ".join(words) or "pinloop")
def test_no_line_of_help_is_cut_or_runs_over_the_edge(words: tuple[str, ...]):
    """A terminal of 80 columns shows every list of commands whole; examples that one copies may be longer."""
    result = CliRunner().invoke(main, [*words, "--help"], prog_name="pinloop", terminal_width=COLUMNS)

    assert result.exit_code == 0, result.output
    listed = result.output.partition("Commands:\n")[2].splitlines()
    assert [line for line in listed if line.endswith("...")] == []
    copied = ("docker ", "pinloop ", "curl ")
    long = [line for line in result.output.splitlines() if len(line) > COLUMNS]
    assert [line for line in long if not line.strip().startswith(copied)] == []


@pytest.mark.parametrize("words", list(commands(main)), ids=lambda words: " ".join(words) or "pinloop")
def test_every_option_that_is_a_duration_takes_the_same_spellings(words: tuple[str, ...]):
    """`--for`, `--since` and the like have one type: nobody has to know which of them counts seconds."""
    for option in command(words).params:
        if {"--for", "--since", "--deadline"} & set(option.opts):
            assert isinstance(option.type, Duration), f"{' '.join(words)} {option.opts[0]}"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2h", 7200), ("7d", 604800), ("1d12h", 129600)],
)
def test_a_duration_is_a_number_of_seconds_or_has_units(text: str, seconds: int):
    """A bare number is seconds; what is printed of it reads back as the same."""
    assert Duration().convert(text, None, None) == seconds
    assert Duration().convert(text_of(seconds), None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1.5h", "-3", "30 m", "m30", "1m1h", "٣", "1w", "0", "0m", "400d"])
def test_what_is_no_duration_is_refused_with_its_text(text: str):
    """Also one of nothing, and one beyond the option's bound."""
    with pytest.raises(click.BadParameter, match=f"'{text}'"):
        Duration().convert(text, None, None)
