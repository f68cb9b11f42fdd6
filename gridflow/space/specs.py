"""The registry of factors that a case may name.

A specification has `factor(name)`, which makes the factor, `size`, its number of cells, and the class constant `resolution_key`:
"cells" of a line or circle, "level" of a surface, whose cells are four times as many on the next one, or None where nothing can
be resolved more finely.
"""

from gridflow.space.circle import Circle, Ellipse
from gridflow.space.ellipsoid import Ellipsoid
from gridflow.space.labels import Labels
from gridflow.space.line import Interval
from gridflow.space.sphere import Sphere

FactorSpec = Interval | Circle | Labels | Ellipse | Sphere | Ellipsoid
