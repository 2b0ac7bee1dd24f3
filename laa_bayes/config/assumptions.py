"""What is assumed of a neuron and its recording? Parameters and units, priors, currents, noise."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .idle import idle_options

MOST_TOGETHER = 12  #: sweeps of one joint posterior (six parameters, R_s, and three coordinates a sweep)
PARAMETERS = ("C_m", "g_L", "E_L", "k", "V_thr", "G_act")


UNITS = {
    "density": {
        "C_m": "uF/cm2",
        "g_L": "mS/cm2",
        "E_L": "mV",
        "k": "mV",
        "V_thr": "mV",
        "G_act": "uA/cm2",
        "current": "uA/cm2",
    },
    "lumped": {"C_m": "pF", "g_L": "nS", "E_L": "mV", "k": "mV", "V_thr": "mV", "G_act": "pA", "current": "pA"},
}


class Frozen(BaseModel):
    """Base of all configs: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _nothing_is_ignored(self):
        if found := idle_options(self):
            raise ValueError(found)
        return self


class Prior(Frozen):
    """Prior of one parameter; ``lower``/``upper`` bound (truncate) a normal or log-normal."""

    distribution: Literal["normal", "lognormal", "uniform", "fixed"]
    center: float = Field(0.0, description="mean (normal), median (lognormal) or value (fixed)")
    sd: float = Field(1.0, gt=0, description="standard deviation; of the logarithm for lognormal")
    lower: float | None = None
    upper: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Prior:
        if self.distribution == "uniform" and (self.lower is None or self.upper is None):
            raise ValueError("a uniform prior needs lower and upper")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"lower {self.lower} must be below upper {self.upper}")
        if self.distribution == "lognormal" and (self.center <= 0 or (self.lower is not None and self.lower < 0)):
            raise ValueError("a lognormal prior needs a positive center and bounds")
        return self


def _priors(c_m, g_l, g_act, e_l=(-65.0, 5.0), k=(6.0, 0.6), v_thr=(-50.0, 5.0)) -> dict[str, Prior]:
    """Return the six priors from (median or mean, sd) pairs; ``g_act`` is a Prior."""
    log = {"C_m": c_m, "g_L": g_l, "k": k}
    linear = {"E_L": e_l, "V_thr": v_thr}
    return (
        {name: Prior(distribution="lognormal", center=c, sd=s) for name, (c, s) in log.items()}
        | {name: Prior(distribution="normal", center=c, sd=s) for name, (c, s) in linear.items()}
        | {"G_act": g_act}
    )


_FIXED_G = Prior(distribution="fixed", center=3.0)


PRIORS: dict[str, dict[str, Prior]] = {
    "default": _priors((1.0, 0.3), (0.1, 0.4), _FIXED_G),
    "measured": _priors((0.72, 0.35), (0.037, 0.5), _FIXED_G),
    "lumped": _priors(
        (100.0, 0.7),
        (6.0, 0.8),
        Prior(distribution="lognormal", center=300.0, sd=0.7),
        e_l=(-65.0, 10.0),
        v_thr=(-45.0, 10.0),
    ),
}


class Segment(Frozen):
    """One piece of a current protocol; amplitudes in uA/cm2 (pA for the lumped prior), positive = inward."""

    kind: Literal["step", "ramp", "noise"]
    start_ms: float = Field(ge=0)
    stop_ms: float
    amplitude: float = Field(description="step height, ramp start, or mean of the noise")
    end_amplitude: float = Field(0.0, description="end of a ramp")
    sd: float = Field(0.0, ge=0, description="sd of Ornstein-Uhlenbeck noise")
    tau_ms: float = Field(5.0, gt=0, description="correlation time of the noise")
    noise_seed: int = Field(20231, ge=0, description="the noise is frozen: this seed makes it")

    @model_validator(mode="after")
    def _lasts(self) -> Segment:
        if self.stop_ms <= self.start_ms:
            raise ValueError(f"a segment from {self.start_ms:g} to {self.stop_ms:g} ms is empty")
        return self


def _step(start: float, stop: float, amplitude: float) -> Segment:
    return Segment(kind="step", start_ms=start, stop_ms=stop, amplitude=amplitude)


PROTOCOLS: dict[str, tuple[Segment, ...]] = {
    "default": (
        _step(40, 120, -1.5),
        _step(160, 230, 1.0),
        _step(230, 255, -3.0),
        Segment(kind="ramp", start_ms=270, stop_ms=370, amplitude=-1.0, end_amplitude=3.0),
        _step(370, 395, -3.0),
        Segment(kind="noise", start_ms=395, stop_ms=500, amplitude=0.5, sd=1.5, tau_ms=5.0),
    ),
    "zero": (),
    "negative-step": (_step(40, 140, -1.5),),
    "positive-step": (_step(160, 330, 1.0),),
}


class Model(Frozen):
    """The assumptions behind simulations: prior, current, noise, convention of k."""

    prior: Literal["default", "measured", "lumped"] = Field(
        "default", description="named prior; 'lumped' is in pF, nS, pA"
    )
    priors: dict[str, Prior] = Field({}, description="replace priors of single parameters (TOML: [priors.C_m] ...)")
    protocol: str = Field(
        "default",
        description="current: default, zero, negative-step, positive-step, or a CSV file with time_ms and a current",
    )
    segments: list[Segment] = Field(
        [], description="a protocol of your own (TOML: [[segments]] kind, start_ms, stop_ms, amplitude, ...)"
    )
    duration_ms: float = Field(500.0, gt=0, le=20000, description="length of a simulated trace in ms")
    dt_ms: float = Field(1.0, gt=0, le=5, description="recording grid in ms (integration steps are finer)")
    noise_mv: float = Field(2.0, gt=0, description="sd of the Gaussian observation noise in mV")
    k_convention: Literal["width", "slope"] = Field(
        "width", description="sigma(x/k), k in mV, or sigma(k x), k in 1/mV"
    )
    infer_g_act: bool = Field(False, description="infer G_act too (log-normal about 3 uA/cm2, sd .4)")
    method: Literal["rk4", "euler", "exponential-euler"] = Field(
        "rk4", description="integrator; the two others are less accurate and here to compare"
    )

    @model_validator(mode="after")
    def _known_priors(self) -> Model:
        self.resolved_priors()
        late = [s.start_ms for s in self.segments if s.start_ms >= self.duration_ms]
        if late:
            raise ValueError(
                f"segments: one begins at {late[0]:g} ms, the trace ends at --duration-ms {self.duration_ms:g}"
            )
        for name in self.priors:
            if name not in PARAMETERS:
                raise ValueError(f"priors: unknown parameter '{name}'; expected one of {', '.join(PARAMETERS)}")
        return self

    @property
    def units(self) -> str:
        """``density`` (uF/cm2, mS/cm2, uA/cm2) or ``lumped`` (pF, nS, pA)."""
        return "lumped" if self.prior == "lumped" else "density"

    def resolved_priors(self) -> dict[str, Prior]:
        """Return the prior of each of the six parameters, in the order of ``PARAMETERS``."""
        table = dict(PRIORS[self.prior])
        if self.infer_g_act and table["G_act"].distribution == "fixed":
            table["G_act"] = Prior(distribution="lognormal", center=table["G_act"].center, sd=0.4)
        table |= self.priors
        if self.k_convention == "slope" and "k" in self.priors:
            table["k"] = _inverted(table["k"])
        return {name: table[name] for name in PARAMETERS}


def _inverted(prior: Prior) -> Prior:
    """Return the prior of 1/k from the prior of k (slope in 1/mV to width in mV)."""
    if prior.distribution not in ("lognormal", "fixed"):
        raise ValueError(
            "priors.k with k_convention slope: use lognormal or fixed, or give the width with k_convention width"
        )
    bounds = {"lower": prior.upper and 1 / prior.upper, "upper": prior.lower and 1 / prior.lower}
    return prior.model_copy(update={"center": 1 / prior.center, **bounds})
