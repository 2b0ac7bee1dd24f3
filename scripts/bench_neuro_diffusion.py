#!/usr/bin/env python3
"""How fast is the rate-network simulator against a plain loop, autograd, torchdiffeq and the bare matrix products?

CPU seconds of this process, one thread, best of several; every competitor runs in the same process on the same numbers.
``--quick`` measures the first rows only.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from neuro_diffusion.rate_network.simulator import simulate_rate_network

A = 0.1  # dt / tau
SIZES = [(50, 100, 1), (50, 100, 10), (50, 100, 256), (200, 100, 16), (1000, 100, 16), (2000, 100, 16), (50, 1000, 10)]
GROWTH = {  # (N, T, trials)
    "N": [(N, 100, 16) for N in (50, 100, 200, 400, 800, 1600)],
    "T": [(50, T, 16) for T in (100, 200, 500, 1000)],
    "trials": [(50, 100, K) for K in (1, 4, 16, 64, 256)],
}


def plain_loop(W: Tensor, h0: Tensor, T: int) -> Tensor:
    """Return (K, T, N), one trial after another: the obvious program."""
    trials = []
    for h in h0:
        rows = [torch.tanh(h)]
        for _ in range(T - 1):
            h = h + A * (-h + W @ torch.tanh(h))
            rows.append(torch.tanh(h))
        trials.append(torch.stack(rows))
    return torch.stack(trials)


def batched_autograd(W: Tensor, h0: Tensor, T: int) -> Tensor:
    """Return (K, T, N), all trials together, gradients by autograd."""
    h, rows = h0, [torch.tanh(h0)]
    for _ in range(T - 1):
        h = h + A * (-h + rows[-1] @ W.T)
        rows.append(torch.tanh(h))
    return torch.stack(rows, 1)


def torchdiffeq_euler(W: Tensor, h0: Tensor, T: int) -> Tensor:
    """Return (K, T, N) by torchdiffeq's Euler solver on the same grid."""
    from torchdiffeq import odeint

    times = torch.arange(T, dtype=h0.dtype) * A
    states = odeint(lambda t, h: -h + torch.tanh(h) @ W.T, h0, times, method="euler")
    return torch.tanh(states).transpose(0, 1)


def bare_products(W: Tensor, h0: Tensor, T: int) -> Tensor:
    """Do only the T - 1 matrix products that any simulator needs."""
    out, Wt = torch.empty_like(h0), W.T
    for _ in range(T - 1):
        torch.mm(h0, Wt, out=out)
    return out


def ours(W: Tensor, h0: Tensor, T: int) -> Tensor:
    """Return (K, T, N) by this package."""
    x = simulate_rate_network(W, h0, T, A, 1.0)
    assert isinstance(x, Tensor)  # a pair only with return_h
    return x


def seconds(run: Callable[[], object], at_least: float = 0.15) -> float:
    """Return CPU seconds of one call: the best of repeated calls."""
    run()
    best, begun = float("inf"), time.process_time()
    for _ in range(200):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
        if time.process_time() - begun > at_least:
            break
    return best


def forward_backward(simulate: Callable, W: Tensor, h0: Tensor, T: int) -> None:
    """Simulate and differentiate the mean square activity with respect to W."""
    V = W.detach().requires_grad_()
    simulate(V, h0, T).square().mean().backward()


def row(N: int, T: int, K: int, competitors: dict[str, Callable]) -> dict[str, float | str]:
    """Return the ratios competitor / ours of one size; the results are compared first."""
    generator = torch.Generator().manual_seed(0)
    W, h0 = torch.randn(N, N, generator=generator) * 1.2 / N**0.5, torch.randn(K, N, generator=generator)
    own = seconds(lambda: ours(W, h0, T))
    own_both = seconds(lambda: forward_backward(ours, W, h0, T))
    found: dict[str, float | str] = {"N": N, "T": T, "trials": K, "ours ms": own * 1e3, "ours+grad ms": own_both * 1e3}
    for name, simulate in competitors.items():
        if name == "plain loop" and N * N * T * K > 3e9:
            found[name] = found[name + "+grad"] = "-"
            continue
        few = slice(0, min(K, 2)), slice(0, min(T, 20))  # chaos spreads rounding errors later on
        torch.testing.assert_close(simulate(W, h0, T)[few], ours(W, h0, T)[few], atol=1e-4, rtol=0)
        found[name] = seconds(partial(simulate, W, h0, T)) / own
        found[name + "+grad"] = seconds(partial(forward_backward, simulate, W, h0, T)) / own_both
    found["ours / products"] = own / seconds(lambda: bare_products(W, h0, T))
    return found


def many_networks(B: int = 64, N: int = 50, K: int = 10, T: int = 100) -> dict[str, float]:
    """Return the speed of B networks at once against one network after another by the plain loop."""
    generator = torch.Generator().manual_seed(1)
    W, h0 = torch.randn(B, N, N, generator=generator) / N**0.5, torch.randn(B, K, N, generator=generator)
    together = seconds(lambda: ours(W, h0, T))
    looped = seconds(lambda: [plain_loop(W[b], h0[b], T) for b in range(4)]) * B / 4
    return {"networks": B, "ms a network": together / B * 1e3, "plain loop": looped / together}


def show(title: str, rows: Sequence[dict]) -> None:
    """Print a table."""
    print(f"\n{title}")
    names = list(dict.fromkeys(name for r in rows for name in r))
    print("  ".join(f"{name:>16}" for name in names))
    for r in rows:
        cells = [r.get(name, "") for name in names]
        print("  ".join(f"{c:>16.4g}" if isinstance(c, float) else f"{c!s:>16}" for c in cells))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print; numbers under a competitor's name say how many times longer it takes than ours."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="first sizes only, no growth table")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    competitors = {"plain loop": plain_loop, "autograd": batched_autograd}
    if importlib.util.find_spec("torchdiffeq") is None:
        print("torchdiffeq is not installed: left out (pip install torchdiffeq).")
    else:
        competitors["torchdiffeq"] = torchdiffeq_euler
    sizes = SIZES[:2] if options.quick else SIZES
    show("times longer than ours (CPU time, one thread)", [row(*size, competitors) for size in sizes])
    show("many networks at once", [many_networks()])
    if not options.quick:
        few = {name: f for name, f in competitors.items() if name != "plain loop"}
        for what, steps in GROWTH.items():
            show(f"growth with {what}", [row(*size, few) for size in steps])


if __name__ == "__main__":
    main()
