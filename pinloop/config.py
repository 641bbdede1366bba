"""`pinloop config SERVICE`: the sample settings of a service, made from their declarations."""

import importlib

import click

SERVICES = ("listener", "rules", "webhook", "hub")


@click.command()
@click.argument("service", type=click.Choice(SERVICES))
@click.option("--markdown", is_flag=True, help="A table for the documentation instead of a sample file.")
def config(service: str, markdown: bool) -> None:
    """Print a sample settings file.

    Every setting of SERVICE with its default and what it is.

    \b
    Example:
      pinloop config listener > pinloop.toml
      python -m listener --config pinloop.toml
    """
    from service.settings import declared
    from service.usage import markdown_table, sample

    settings = declared(importlib.import_module(f"{service}.settings").Settings)
    text = markdown_table(service, settings) if markdown else "version = 1\n\n" + sample(service, settings)
    click.echo(text, nl=False)
