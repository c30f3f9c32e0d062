"""`python -m scalelab.cli`: the command line without an installed script."""

from scalelab.cli import main

main()
