"""Generated videos: the small world, in which relations can be learnt in minutes, and walkers for tests."""

from acrn_zoo.data.synthetic.walkers import SyntheticVideo, write_synthetic_video

__all__ = ["SyntheticVideo", "write_synthetic_video"]
