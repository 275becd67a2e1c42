"""Where are the people? A person detector, a file of boxes, or any callable, behind one small protocol.

A :class:`PeopleDetector` is asked once a keyframe and answers with boxes in pixels of the video's own frames.
:func:`find_people` asks it and checks the answer, so that nothing behind it has to.
"""

from acrn_zoo.people.box_file import LARGEST_FRACTION, TIMESTAMP_TOLERANCE, BoxFile
from acrn_zoo.people.detector import PeopleDetector, PeopleError, find_people
from acrn_zoo.people.faster_rcnn import COCO_PERSON, FASTER_RCNN_WEIGHTS, FasterRCNN, load_faster_rcnn

__all__ = [
    "COCO_PERSON",
    "FASTER_RCNN_WEIGHTS",
    "LARGEST_FRACTION",
    "TIMESTAMP_TOLERANCE",
    "BoxFile",
    "FasterRCNN",
    "PeopleDetector",
    "PeopleError",
    "find_people",
    "load_faster_rcnn",
]
