"""Pictures of what was found: detections on frames, and relation maps over them."""

from acrn_zoo.visualize.canvas import PictureError, contact_sheet, save_png
from acrn_zoo.visualize.detections import draw_annotations, draw_detections, enlarged_size
from acrn_zoo.visualize.relations import RelationExample, draw_relations

__all__ = [
    "PictureError",
    "RelationExample",
    "contact_sheet",
    "draw_annotations",
    "draw_detections",
    "draw_relations",
    "enlarged_size",
    "save_png",
]
