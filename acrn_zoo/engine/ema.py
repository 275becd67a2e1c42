"""A moving average of the weights, which often scores better than the weights themselves."""

from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from acrn_zoo.models import ActionDetector


def create_average(model: ActionDetector, decay: float) -> AveragedModel:
    """The exponential moving average of a model, to be moved on after every step of the optimizer.

    ``average = decay * average + (1 - decay) * weights``; the first call of ``update_parameters(model)`` takes the
    weights as they are. Batch statistics are averaged too: those of the newest weights would not fit older ones.

    Args:
        model: on its device. It is copied.
        decay: above 0 and below 1.
    """
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    return average.requires_grad_(False).eval()


def averaged_detector(average: AveragedModel) -> ActionDetector:
    """The model that has the averaged weights, in evaluation mode."""
    model = average.module
    assert isinstance(model, ActionDetector)
    return model.eval()
