"""The command line: `python -m pipelines`, or `quartet` where the package is installed.

Exit codes: 0 fine; that of the step when one failed; 2 for a manifest or an option that cannot be used; 3 for data;
130 and 143 when the run was interrupted or told to stop.
"""

from __future__ import annotations

import click

from pipelines.commands import cloud, local, manifests, releases, shell, tracking
from pipelines.commands.common import laid_out


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@laid_out
def main() -> None:
    r"""One manifest, two pipelines: train and release, then score with the release.

    \b
    Examples:
      python -m pipelines init customers.csv
      python -m pipelines validate pipelines/flights/use-case.yaml
      python -m pipelines run pipelines/flights/use-case.yaml --pipeline both
      python -m pipelines status pipelines/flights/use-case.yaml
      python -m pipelines deploy use-case.yaml --environment prod
    """


for command in (
    manifests.init,
    manifests.validate,
    manifests.plan,
    local.run,
    cloud.render,
    cloud.deploy,
    cloud.start,
    releases.status,
    releases.lineage,
    tracking.track,
    releases.promote,
    releases.rollback,
    cloud.destroy,
    shell.completion,
):
    main.add_command(command)
