"""Parameter spaces as products of factors: factors, the grid, and densities on it."""

from gridflow.space.ellipse import Ellipse
from gridflow.space.factor import Circle, Interval, Labels

FactorSpec = Interval | Circle | Ellipse | Labels
