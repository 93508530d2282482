"""Work that processes of Ray are given in tests; they import it by its name, so it imports little."""

import os
import signal

from relprop.support.errors import InputError


def study(place, **options):
    """A study of a folder of small pictures, two in a part."""
    import relprop as rp  # noqa: PLC0415
    from relprop.data.folder import folder  # noqa: PLC0415
    from relprop.data.geometry import like  # noqa: PLC0415
    from relprop.study.task import Task, class_targets  # noqa: PLC0415

    data, model = folder(place, None), rp.models.load("digits-shallow")
    targets = class_targets(data.classes, model.classes, {"six": [6]})
    settings = {"methods": ("lrp-z", "uniform"), "chunk": 2, "occlusion": False} | options
    return Task("test", data, model, "digits-shallow", like(model.preprocess), targets, **settings)


def candidates():
    """A network and pictures to tune on."""
    import test_tune  # noqa: PLC0415
    from relprop.tools.tune_data import Samples  # noqa: PLC0415

    return test_tune.network(), Samples(test_tune.pictures(12))


def squares():
    """Opens in no time; one part cannot be done."""

    def work(part):
        if part == 40:
            raise InputError("part forty is no part")
        return part**2

    return work


def nothing():
    """Cannot be opened at all."""
    raise InputError("there is no such network")


def deadly():
    """Whoever does the first part dies of it."""

    def work(part):
        if part == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return part

    return work


def failing():
    """The first part fails, in whatever process."""

    def work(part):
        if part == 0:
            raise OSError(5, "Input/output error")
        return part

    return work
