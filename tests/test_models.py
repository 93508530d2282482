"""Networks by name: lists, embedded and random ones, classes and preprocessing."""

import pkgutil
import subprocess
import sys
import warnings

import pytest
import torch
import torchvision
from PIL import Image

import relprop as rp
from loaded_networks import same
from relprop.data.preprocess import Preprocess
from relprop.models import ModelError, load, names, registry
from relprop.models.families import embedded, library_names, torchvision_zoo
from relprop.models.networks import digits
from relprop.support.class_names import ClassError, class_index


def test_names_are_the_embedded_ones_and_torchvisions():
    assert names()[:2] == ["digits-shallow", "digits-deep"]
    assert {"alexnet", "vgg16", "resnet50", "vit_b_16", "squeezenet1_0"} < set(names())
    assert {"fcn_resnet50", "ssd300_vgg16"} < set(names())
    assert not {"fasterrcnn_resnet50_fpn", "r3d_18"} & set(names())  # two stages; of videos


def test_names_of_torchvision_and_what_it_publishes_are_found_without_importing_it():
    models = torchvision.models
    found = library_names.torchvision()
    assert list(found) == models.list_models(module=models)
    for name, published in found.items():
        entry = models.get_model_weights(name).DEFAULT
        assert (published.url, published.megabytes) == (entry.url, entry.meta["_file_size"])


def test_the_digits_are_listed_by_their_names():
    assert tuple(registry.FAMILIES[0].names()) == digits.NAMES


def test_every_family_has_its_loader_where_the_table_says():
    for family in registry.FAMILIES:
        assert callable(pkgutil.resolve_name(family.loader))


LIGHT = """
import sys
import relprop.models
relprop.models.names(), relprop.models.needs("vgg16")
heavy = {"torch", "torchvision", "timm", "numpy"} & set(sys.modules)
print(sorted(heavy))
"""


def test_a_list_of_names_imports_neither_torch_nor_torchvision():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert rp.models.Preprocess is Preprocess


def test_an_embedded_network_is_ready_to_use():
    model = load("digits-shallow")
    assert not model.training
    assert model.classes == digits.CLASSES
    x = model.preprocess(Image.new("RGB", (100, 70), "white"))
    assert x.shape == (3, 64, 64)
    assert torch.allclose(x[:, 0, 0], torch.tensor(model.preprocess.bounds[1]))
    assert model(x[None]).shape == (1, 10)


def test_what_is_attached_is_no_part_of_the_network():
    assert load("digits-shallow").state_dict().keys() == embedded.trained("digits-shallow").state_dict().keys()


def test_a_wrong_name_suggests_the_near_one():
    with pytest.raises(ModelError, match=r"no model 'squezenet1_0'; did you mean squeezenet1_0"):
        load("squezenet1_0")
    with pytest.raises(ModelError, match="relprop models lists them"):
        load("qqqqqq")


def test_random_weights_are_the_same_each_time_and_draw_no_numbers_of_the_caller():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = load("squeezenet1_1", "random"), load("squeezenet1_1", "random")
    assert torch.equal(torch.rand(3), expected)
    assert same(first, second.state_dict())
    assert not first.training
    assert first.classes[207] == "golden retriever"
    assert first.preprocess.crop == 224


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_networks_that_warn_about_their_initialisation_do_not(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(name, "random").transform_input  # as their published weights want it


def test_every_network_of_torchvision_has_preprocessing_and_classes():
    for name in library_names.torchvision():
        entry = torchvision_zoo._published(name)["DEFAULT"]
        assert len(entry.meta["categories"]) == 1000
        low, high = torchvision_zoo._preprocess(entry).bounds
        assert all(low[c] < 0 < high[c] for c in range(3))


def test_classes_by_index_and_by_name():
    classes = ("tench", "Staffordshire bullterrier", "space-bar", "crane", "crane")
    assert class_index("2", classes) == 2
    assert class_index("staffordshire_Bullterrier", classes) == 1
    assert class_index("space bar", classes) == 2
    with pytest.raises(ClassError, match=r"no class 'tensh' in this network; did you mean tench\?"):
        class_index("tensh", classes)
    with pytest.raises(ClassError, match=r"did you mean Staffordshire bullterrier\?"):
        class_index("bullterrier", classes)
    with pytest.raises(ClassError, match="no class 5 in this network; its classes are 0 to 4"):
        class_index("5", classes)
    with pytest.raises(ClassError, match="name of 3 and 4: give the index"):
        class_index("crane", classes)
    with pytest.raises(ClassError, match="; choose from tench, Staff"):
        class_index("zzz", classes)
    with pytest.raises(ClassError, match="name one like 'class 0', or give its index"):
        class_index("zzz", [f"class {index}" for index in range(100)])


def test_an_index_that_is_another_class_s_name():
    digits = ("seven", "3", "2", "seven-seven")
    assert [class_index(word, digits) for word in ("class 3", "2", "class 2", "0", "seven seven")] == [3, 2, 2, 0, 3]
    with pytest.raises(ClassError, match="3 is an index, and the name of class 1: say 'class 3', or 1"):
        class_index("3", digits)
    assert class_index("class 1", ("class 1", "class 0")) == 0  # a name before an index
    assert rp.models.class_index is class_index


def test_targets_by_name():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)).eval()
    x, hidden = torch.ones(1, 1, 2, 2), {"method": "gradient"}
    with pytest.raises(rp.InputError, match=r"no \.classes that name its outputs; give the index"):
        rp.attribute(net, x, "crane", **hidden)
    net.classes = ("crane", "egret", "crane")
    for method in ("gradient", "lrp-z"):
        assert torch.equal(rp.attribute(net, x, "Egret", method), rp.attribute(net, x, 1, method))
        with pytest.raises(rp.InputError, match="'crane' is the name of 0 and 2: give the index"):
            rp.attribute(net, x, "crane", method)
        with pytest.raises(rp.InputError, match=r"no class 'egrett' in this network; did you mean egret\?"):
            rp.attribute(net, x, "egrett", method)
    assert rp.explain(net, x, ["egret", 2], "lrp-z").targets.tolist() == [[1], [2]]
