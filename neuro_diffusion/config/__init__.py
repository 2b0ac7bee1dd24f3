"""Which options do the verbs have? Those that several share (`shared`), those of each (`verbs`), and which would do nothing (`idle`)."""

from .shared import EI_RATIO as EI_RATIO
from .shared import STORED as STORED
from .shared import STRUCTURES as STRUCTURES
from .shared import Config as Config
from .shared import RandomNetworks as RandomNetworks
from .shared import Settings as Settings
from .shared import refuse_size as refuse_size
from .verbs import BLOCK as BLOCK
from .verbs import BenchmarkConfig as BenchmarkConfig
from .verbs import BuildDatasetConfig as BuildDatasetConfig
from .verbs import CheckSimulatorConfig as CheckSimulatorConfig
from .verbs import EvaluateConfig as EvaluateConfig
from .verbs import ExportPtConfig as ExportPtConfig
from .verbs import HeldOutConfig as HeldOutConfig
from .verbs import ImportConnectomeConfig as ImportConnectomeConfig
from .verbs import ImportPtConfig as ImportPtConfig
from .verbs import InferConfig as InferConfig
from .verbs import InfoConfig as InfoConfig
from .verbs import PlotConfig as PlotConfig
from .verbs import SampleConfig as SampleConfig
from .verbs import SimulateConfig as SimulateConfig
from .verbs import TrainConditionalConfig as TrainConditionalConfig
from .verbs import TrainPriorConfig as TrainPriorConfig
