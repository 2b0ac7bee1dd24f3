"""Which options does each command have, with which defaults, bounds and units?

Priors, current protocols and training presets are configuration too: everything that decides a number stands here.
"""

from .assumptions import (
    MOST_TOGETHER as MOST_TOGETHER,
)
from .assumptions import (
    PARAMETERS as PARAMETERS,
)
from .assumptions import (
    PRIORS as PRIORS,
)
from .assumptions import (
    PROTOCOLS as PROTOCOLS,
)
from .assumptions import (
    UNITS as UNITS,
)
from .assumptions import (
    Frozen as Frozen,
)
from .assumptions import (
    Model as Model,
)
from .assumptions import (
    Prior as Prior,
)
from .assumptions import (
    Segment as Segment,
)
from .names import (
    FIGURE_FORMAT as FIGURE_FORMAT,
)
from .names import (
    FigureFile as FigureFile,
)
from .names import (
    Hdf5File as Hdf5File,
)
from .names import (
    TraceFile as TraceFile,
)
from .neuron import (
    FixedPointsConfig as FixedPointsConfig,
)
from .neuron import (
    Neuron as Neuron,
)
from .neuron import (
    TraceConfig as TraceConfig,
)
from .presets import (
    PRESETS as PRESETS,
)
from .presets import (
    Preset as Preset,
)
from .verbs import (
    CompareConfig as CompareConfig,
)
from .verbs import (
    DiagnoseConfig as DiagnoseConfig,
)
from .verbs import (
    ExportConfig as ExportConfig,
)
from .verbs import (
    InferConfig as InferConfig,
)
from .verbs import (
    InfoConfig as InfoConfig,
)
from .verbs import (
    OwnConfig as OwnConfig,
)
from .verbs import (
    PlotConfig as PlotConfig,
)
from .verbs import (
    PopulationConfig as PopulationConfig,
)
from .verbs import (
    PosteriorPredictConfig as PosteriorPredictConfig,
)
from .verbs import (
    Reading as Reading,
)
from .verbs import (
    SimulateConfig as SimulateConfig,
)
from .verbs import (
    TrainConfig as TrainConfig,
)
