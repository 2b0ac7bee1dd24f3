"""Are samples of a prior distinguishable from real weight matrices? Spectra, norms, signs, and a classifier that tries.

Every figure stands beside its band: the same figure between random halves of the real matrices, which is as well as any sampler
can do with this many of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SIGN_TOLERANCE = 0.1  #: entries below this fraction of the matrix's standard deviation carry no sign


class PriorMetrics(NamedTuple):
    """How samples differ from real matrices."""

    radius_ratio: float  #: mean spectral radius of samples over that of real ones
    radius_ratio_se: float
    radial_ks: float  #: Kolmogorov-Smirnov distance of eigenvalue moduli, each divided by its matrix's Frobenius radius
    entry_ks: float  #: of entries
    row_norm_ks: float
    column_norm_ks: float
    c2st: float  #: cross-validated accuracy of a classifier on permutation-invariant features; .5: indistinguishable
    c2st_spectrum: float  #: the same on eigenvalues, singular values, row and column norms and sums alone
    sign_violation: float  #: fraction of entries against the majority sign of their column
    sign_violation_real: float
    band: dict[str, float]  #: 95 % quantile of the same distances between halves of the real matrices


def prior_metrics(samples: Tensor, real: Tensor, seed: int = 0, n_bands: int = 40) -> PriorMetrics:
    """Return the metrics of samples (S, N, N) against real matrices (R, N, N) that the model was not trained on.

    Raises
    ------
    ValueError : fewer than 20 matrices on a side, numbers that are not finite, sizes that differ.
    """
    for name, W in (("samples", samples), ("real", real)):
        if W.ndim != 3 or len(W) < 20 or not bool(torch.isfinite(W).all()):
            raise ValueError(f"{name} {tuple(W.shape)}: at least 20 finite matrices (S, N, N) are needed")
    if samples.shape[1:] != real.shape[1:]:
        raise ValueError(f"samples {tuple(samples.shape)} and real matrices {tuple(real.shape)} differ in size")
    rng = np.random.default_rng(seed)
    own, other = _views(samples), _views(real)
    radii, radii_real = own.pop("radius"), other.pop("radius")
    ratio = radii.mean() / radii_real.mean()
    error = ratio * np.hypot(_relative_se(radii), _relative_se(radii_real))
    distances = {name: ks_distance(own[name].ravel(), other[name].ravel()) for name in own}
    return PriorMetrics(
        float(ratio), float(error), distances["radial"], distances["entry"], distances["row_norm"],
        distances["column_norm"], c2st(samples, real, rng),
        c2st(samples, real, rng, spectrum_features), sign_violation(samples), sign_violation(real),
        _bands({**other, "radius": radii_real}, rng, n_bands),
    )  # fmt: skip


def _views(W: Tensor) -> dict[str, np.ndarray]:
    """Return eigenvalue moduli in units of the Frobenius radius |W| / sqrt(N), radii, entries and norms, (S, ...) each."""
    moduli = torch.linalg.eigvals(W.double()).abs().numpy()
    frobenius = W.double().norm(dim=(1, 2)).numpy() / np.sqrt(W.shape[-1])
    return {
        "radius": moduli.max(1),
        "radial": moduli / np.maximum(frobenius, 1e-12)[:, None],
        "entry": W.numpy().reshape(len(W), -1),
        "row_norm": W.norm(dim=2).numpy(),
        "column_norm": W.norm(dim=1).numpy(),
    }


def _relative_se(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)) / values.mean())


def _bands(views: dict[str, np.ndarray], rng: np.random.Generator, n_bands: int) -> dict[str, float]:
    """Return the 95 % quantile of each distance between random halves of the real matrices."""
    found: dict[str, list[float]] = {name: [] for name in views}
    count = len(views["radius"])
    for _ in range(n_bands):
        order = rng.permutation(count)
        left, right = order[: count // 2], order[count // 2 :]
        for name, values in views.items():
            if name == "radius":
                found[name].append(abs(values[left].mean() / values[right].mean() - 1))
            else:
                found[name].append(ks_distance(values[left].ravel(), values[right].ravel()))
    return {name: float(np.quantile(values, 0.95)) for name, values in found.items()}


def ks_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return the largest difference of two empirical distribution functions; ties are counted on both sides."""
    x, y = np.sort(x), np.sort(y)
    grid = np.union1d(x, y)
    return float(np.abs(np.searchsorted(x, grid, "right") / len(x) - np.searchsorted(y, grid, "right") / len(y)).max())


def circular_law_ks(W: Tensor, g: float) -> float:
    """Return the KS distance of eigenvalue moduli from the circular law on a disc of radius g (P(|lambda| < r) = (r / g)^2)."""
    moduli = np.sort(torch.linalg.eigvals(W.double()).abs().numpy().ravel())
    law = np.clip(moduli / g, 0, 1) ** 2
    steps = np.arange(len(moduli) + 1) / len(moduli)
    return float(max(np.abs(law - steps[1:]).max(), np.abs(law - steps[:-1]).max()))


def sign_violation(W: Tensor) -> float:
    """Return the fraction of sizeable entries against the summed sign of their column (Dale's law: 0; free signs: nearly 1/2)."""
    sizeable = W.abs() > SIGN_TOLERANCE * W.std(dim=(1, 2), keepdim=True)
    against = (W.sign() != W.sum(1, keepdim=True).sign()) & sizeable
    return float(against.sum() / sizeable.sum().clamp_min(1))


def spectrum_features(W: Tensor) -> np.ndarray:
    """Return (S, F) sorted quantiles of row and column norms and sums, eigenvalue moduli and real parts, singular values, diagonal."""
    W = W.double()
    levels = torch.linspace(0.02, 0.98, 9, dtype=W.dtype)
    eigenvalues = torch.linalg.eigvals(W)
    views = [
        W.norm(dim=2), W.norm(dim=1), W.sum(2), W.sum(1), eigenvalues.abs(), eigenvalues.real, torch.linalg.svdvals(W),
        W.diagonal(dim1=1, dim2=2),
    ]  # fmt: skip
    return torch.cat([torch.quantile(v, levels, dim=1).T for v in views], 1).numpy()


def entry_features(W: Tensor) -> np.ndarray:
    """Return (S, F) quantiles and moments of the entries, the fraction near zero, symmetry, a power's trace, sign violations."""
    W = W.double()
    levels = torch.linspace(0.02, 0.98, 9, dtype=W.dtype)
    spread = W.std(dim=(1, 2))
    scaled = W / spread[:, None, None]
    against = (W.sign() != W.sum(1, keepdim=True).sign()) & (scaled.abs() > SIGN_TOLERANCE)
    scalars = [
        W.mean((1, 2)), spread, scaled.pow(3).mean((1, 2)), scaled.pow(4).mean((1, 2)),
        (scaled.abs() < 0.05).double().mean((1, 2)), (scaled * scaled.mT).mean((1, 2)),
        torch.einsum("bij,bjk,bki->b", scaled, scaled, scaled) / W.shape[-1], against.double().mean((1, 2)),
    ]  # fmt: skip
    return torch.cat([torch.quantile(W.flatten(1), levels, dim=1).T, torch.stack(scalars, 1)], 1).numpy()


def invariant_features(W: Tensor) -> np.ndarray:
    """Return (S, F) features that do not change when neurons are relabelled: those of spectrum and entries."""
    return np.concatenate([spectrum_features(W), entry_features(W)], 1)


def c2st(
    samples: Tensor,
    real: Tensor,
    rng: np.random.Generator,
    features: Callable[[Tensor], np.ndarray] = invariant_features,
    folds: int = 5,
) -> float:
    """Return the cross-validated accuracy of a small neural classifier that tells samples from real (Lopez-Paz & Oquab 2017).

    Both sides are cut to one size; features are standardised on the training folds only.
    """
    count = min(len(samples), len(real))
    X = np.concatenate([features(samples[:count]), features(real[:count])])
    y = np.repeat([0.0, 1.0], count)
    fold = np.concatenate([rng.permutation(count) % folds, rng.permutation(count) % folds])
    right = 0.0
    for k in range(folds):
        train, test = fold != k, fold == k
        mean, spread = X[train].mean(0), X[train].std(0) + 1e-9
        scaled = np.clip((X - mean) / spread, -8, 8)
        predicted = _classifier(scaled[train], y[train], int(rng.integers(2**31)))(scaled[test])
        right += float(((predicted > 0) == (y[test] > 0.5)).sum())
    return right / len(y)


def _classifier(X: np.ndarray, y: np.ndarray, seed: int):
    """Return a trained function features -> logit: one hidden layer, weight decay, 300 full-batch Adam steps."""
    generator = torch.Generator().manual_seed(seed)
    inputs, target = torch.from_numpy(X).float(), torch.from_numpy(y).float()
    sizes = [(X.shape[1], 32), (32, 1)]
    weights = [(torch.randn(s, generator=generator) / s[0] ** 0.5).requires_grad_() for s in sizes]
    biases = [torch.zeros(s[1], requires_grad=True) for s in sizes]

    def logit(z: Tensor) -> Tensor:
        """Return the classifier's log odds (n) that features z (n, F) are real."""
        return (torch.relu(z @ weights[0] + biases[0]) @ weights[1] + biases[1])[:, 0]

    optimiser = torch.optim.AdamW([*weights, *biases], lr=5e-3, weight_decay=0.1)
    with torch.enable_grad():
        for _ in range(300):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logit(inputs), target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return lambda z: logit(torch.from_numpy(z).float()).detach().numpy()
