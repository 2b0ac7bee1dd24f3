"""How fast does each unit fire on each trial, and how much of it do stimulus, own past and neighbours explain?

Poisson GLMs with spike-history, stimulus and coupling filters for trial-structured recordings (blech_clust directories, NWB
files, spike-time tables). Priors are learned from the population inside every training fold, scores are cross-validated, and
results go back into the recording's HDF5 file through a journal that survives a kill, or into a file of their own.

Sources: Pillow et al. 2008 (coupled GLM, raised-cosine log kernels); MacKay 1992 (evidence); Haslinger, Pipa & Brown 2010
(time rescaling in bins); nemos (kernels, model files); blech_clust (directory layout).
"""
