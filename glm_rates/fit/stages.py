"""Where does a stage run? Here, in whatever interpreter was found for it: ``python stages.py extract|fit FOLDER``.

The two stages may need different interpreters, and neither need have this package installed: run by file, this module makes the
package importable by its place. Nothing else is imported before the stage's own module. Python 3.8 syntax.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from pathlib import Path

STAGES = {"extract": "glm_rates.fit.extract", "fit": "glm_rates.score.fit_and_score"}  # modules with ``run(folder)``

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # two contended BLAS threads are slower than one


def register(root):
    """Make ``glm_rates`` and ``hdf5io`` importable from the folder that holds both, and nothing else that lies there."""
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [entry for entry in sys.path if entry != here]
    for name in ("glm_rates", "hdf5io"):
        folder = root / name
        spec = importlib.util.spec_from_file_location(
            name, str(folder / "__init__.py"), submodule_search_locations=[str(folder)]
        )
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])


if __name__ in ("__main__", "__mp_main__") and not __package__ and "glm_rates" not in sys.modules:
    register(Path(__file__).resolve().parents[2])


def main(arguments):
    """Run ``STAGES[arguments[0]]`` on the folder ``arguments[1]``: log to stderr, mistakes as one line and exit code 2.

    The last line on stderr of a failed stage is its error; the process that started it repeats that line.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("glm_rates")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    try:
        importlib.import_module(STAGES[arguments[0]]).run(Path(arguments[1]))
    except Exception as error:
        if getattr(error, "exit_code", None) is None:
            raise
        print("ERROR " + " ".join(str(error).split()), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
