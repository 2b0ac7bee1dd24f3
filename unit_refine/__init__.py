"""Which sorted units are good single units, which are multi-unit, which are noise, and how sure are we?

A classifier learns a laboratory's own manual labels from quality and template metrics, and is applied to new recordings.

Model: class-balanced soft vote of histogram gradient boosting and extremely randomised trees (scikit-learn), or one of four other
classifiers; scored on recordings that were held out as a whole; probabilities calibrated on the same held-out predictions.
Input: metrics tables (CSV), Phy folders, SpikeInterface SortingAnalyzers. Output: a model folder that SpikeInterface and UnitRefine
read, tables of predicted labels, Phy and SpikeInterface curation files.
Sources: UnitRefine (Jain et al. 2025); SpikeInterface (Buccino et al. 2020); Pedregosa et al. 2011; Platt 1999; Saerens et al. 2002.
"""

__all__ = ["train_model"]


def __getattr__(name: str):
    if name == "train_model":
        import importlib

        return importlib.import_module("unit_refine.commands.from_python").train_model
    raise AttributeError(f"module 'unit_refine' has no attribute '{name}'")
