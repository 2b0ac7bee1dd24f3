"""Run the pipeline as ``python -m laa_bayes``."""

from laa_bayes.cli import main

if __name__ == "__main__":
    main()
