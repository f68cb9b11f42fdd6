"""The terms of a flow beside the gradient of its energy."""
