"""The registry of factors that a case may name."""

from gridflow.space.ellipse import Ellipse
from gridflow.space.factor import Circle, Interval, Labels
from gridflow.space.sphere import Ellipsoid, Sphere

FactorSpec = Interval | Circle | Labels | Ellipse | Sphere | Ellipsoid
