"""``python -m neuropipes`` is ``neuropipes``."""

from neuropipes import main

main()
