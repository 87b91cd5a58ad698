"""An execution as a picture, in the manner of the Step Functions console: `svg(definition, execution)`.

The picture needs nothing else: no fonts, scripts or style sheets, and it has its own background.
"""

from chalicelib.graph.picture import svg

__all__ = ["svg"]
