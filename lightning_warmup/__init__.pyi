from .callbacks.monitor import MultistabilityMonitor as MultistabilityMonitor
from .callbacks.pretrain import PretrainStage as PretrainStage
from .callbacks.warmup import WarmupStage as WarmupStage
from .cells import Gate as Gate
from .cells import GatedCell as GatedCell
from .dynamics.functional import at_rest as at_rest
from .dynamics.functional import resting_vaa as resting_vaa
from .dynamics.functional import vaa as vaa
from .dynamics.functional import vaa_star as vaa_star
from .dynamics.measure import Multistability as Multistability
from .dynamics.measure import multistability as multistability
from .dynamics.metrics import VAA as VAA
from .dynamics.metrics import RestingFraction as RestingFraction
from .dynamics.metrics import VAAStar as VAAStar
from .dynamics.portraits import Portrait as Portrait
from .dynamics.portraits import portrait as portrait
from .networks import DoubleLayer as DoubleLayer
from .networks import RecurrentNetwork as RecurrentNetwork
from .networks import Unrolled as Unrolled
from .networks import find_network as find_network
from .networks import layers_of as layers_of
from .networks.observed import observe as observe
from .procedures.result import WarmupResult as WarmupResult
from .procedures.result import WarmupStep as WarmupStep
from .procedures.warmup import WarmupDiverged as WarmupDiverged
from .procedures.warmup import warmup as warmup

__version__: str
