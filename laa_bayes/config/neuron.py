"""Which options do the verbs about one neuron with given parameters have?"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .assumptions import Frozen
from .names import FigureFile, TraceFile


class Neuron(Frozen):
    """The parameters of one neuron (the seed document's values)."""

    C_m: float = Field(1.0, gt=0, description="membrane capacitance in uF/cm2 (or pF)")
    g_L: float = Field(0.1, gt=0, description="leak conductance in mS/cm2 (or nS)")
    E_L: float = Field(-65.0, ge=-200, le=100, description="leak reversal potential in mV")
    k: float = Field(10.0, gt=0, description="activation slope: mV (width) or 1/mV (slope)")
    V_thr: float = Field(-50.0, ge=-200, le=200, description="activation threshold in mV")
    g_act: float = Field(3.0, ge=0, description="activation current in uA/cm2 (or pA)")
    k_convention: Literal["width", "slope"] = Field(
        "width", description="sigma(x/k), k in mV, or sigma(k x), k in 1/mV"
    )

    def theta(self) -> tuple[float, ...]:
        """Return the six numbers in the order of ``PARAMETERS``, k as a width in mV."""
        width = self.k if self.k_convention == "width" else 1.0 / self.k
        return (self.C_m, self.g_L, self.E_L, width, self.V_thr, self.g_act)


class FixedPointsConfig(Neuron):
    """Find resting voltages, their stability, and the currents between which the neuron is bistable."""

    current: float = Field(0.0, description="constant current in uA/cm2 (or pA)")
    output: FigureFile | None = Field(
        None, description="figure of the current-voltage curve (.png or .svg)", json_schema_extra={"flags": ["-o"]}
    )
    overwrite: bool = Field(False, description="replace an existing figure")


class TraceConfig(Neuron):
    """Simulate the voltage of one neuron under a current."""

    current: str = Field(
        "default", description="built-in protocol, or CSV with time_ms and current_uA_cm2 (or current_pA)"
    )
    dt_ms: float = Field(1.0, gt=0, le=5, description="grid of a built-in protocol in ms")
    duration_ms: float = Field(500.0, gt=0, le=100_000, description="length of a built-in protocol in ms")
    v0_mv: float | None = Field(None, description="initial voltage in mV [E_L]")
    noise_mv: float = Field(0.0, ge=0, description="sd of Gaussian noise added to the voltage in mV")
    method: Literal["rk4", "euler", "exponential-euler"] = Field("rk4", description="integrator")
    seed: int = Field(0, ge=0, description="seed of the noise")
    output: TraceFile = Field(description="HDF5 or CSV file", json_schema_extra={"flags": ["-o"]})
    overwrite: bool = Field(False, description="replace an existing file")
