"""The registry of exact solutions that a case may name under [exact]: a solution is listed at the end of its family's module."""

from gridflow.exact.barenblatt import BarenblattSolution
from gridflow.exact.congestion import CrowdSolution
from gridflow.exact.discrepancies import DiscrepancySolution
from gridflow.exact.heat import Heat
from gridflow.exact.interactions import InteractionSolution
from gridflow.exact.linear import LinearSolution
from gridflow.exact.networks import NetworkSolution

ExactSpec = (
    NetworkSolution | LinearSolution | Heat | DiscrepancySolution | InteractionSolution | BarenblattSolution | CrowdSolution
)
