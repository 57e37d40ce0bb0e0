"""Commands for the shell itself."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

from pipelines.commands.common import spoken

SHELLS: Final = ("bash", "zsh", "fish")
PROGRAM: Final = "quartet"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@spoken
def completion(shell: str) -> None:
    r"""Print what makes a shell complete the words of `quartet`.

    \b
    Examples:
      eval "$(python -m pipelines completion bash)"
      python -m pipelines completion fish > ~/.config/fish/completions/quartet.fish
    """
    made = get_completion_class(shell)
    assert made is not None
    program = click.get_current_context().find_root().command
    click.echo(made(program, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
