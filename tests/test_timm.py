"""Networks of timm: explained, with timm's preprocessing, and with weights from files and from the Hub."""

import pytest
import torch
from safetensors.torch import save_file

from conftest import randomised
from hub import hub_folder
from loaded_networks import conserves, failure, picture
from relprop.data.preprocess import Preprocess
from relprop.models import ModelError, load
from relprop.models.families import timm_zoo


@pytest.fixture(scope="module")
def timm():
    return pytest.importorskip("timm")


SMALL = ("test_resnet", "test_efficientnet", "resnet10t", "mobilenetv3_small_050", "semnasnet_050")


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("name", SMALL)
def test_networks_of_timm_are_explained(name):
    model = load(f"timm:{name}", "random")
    assert isinstance(model.preprocess, Preprocess)
    assert model.classes[207] == "golden retriever"
    assert conserves(randomised(model), torch.rand(1, 3, 64, 64, dtype=torch.float64))


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_networks_that_attend_or_normalise_by_their_own_statistics_are_explained(name):
    model = load(f"timm:{name}", "random")
    assert conserves(model.double(), torch.rand(1, 3, 160, 160, dtype=torch.float64))


def test_preprocessing_is_timms_to_the_bit(timm):
    compared = 0
    for name in (*SMALL, "vit_tiny_patch16_224", "tf_efficientnet_b1", "inception_v4", "convnext_atto", "test_vit2"):
        model = load(f"timm:{name}", "random")
        theirs = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
        for image in (picture(), picture(211, 301), picture(640, 480), picture(64, 64)):
            assert torch.equal(model.preprocess(image), theirs(image)), name
            compared += 1
    assert compared == 40


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"crop_mode": "squash"}, None),
        ({"crop_mode": "squash", "crop_pct": 1.0}, None),
        ({"interpolation": "nearest"}, None),
        ({"crop_mode": "border"}, "crop mode 'border'"),
        ({"crop_pct": 1.15}, "does not fit"),
        ({"input_size": (3, 160, 96)}, "3 x 160 x 96"),
        ({"input_size": (1, 160, 160)}, "1 x 160 x 160"),
        ({"interpolation": "lanczos"}, "interpolation 'lanczos'"),
    ],
)
def test_preprocessing_that_is_not_ours_is_refused_and_not_guessed(timm, changed, told):
    model = timm.create_model("test_resnet")
    model.pretrained_cfg = model.pretrained_cfg | {"fixed_input_size": False} | changed
    found = timm_zoo.preprocess(model, "timm:test_resnet")
    if told is None:
        theirs = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
        assert torch.equal(found(picture()), theirs(picture()))
    else:
        with pytest.raises(ModelError, match=told):
            found(picture())


def test_weights_from_a_file_for_a_network_of_timm(timm, tmp_path):
    with torch.random.fork_rng(devices=[]):
        theirs = timm.create_model("test_resnet", num_classes=7).eval()
    save_file(theirs.state_dict(), tmp_path / "a")
    model = load("timm:test_resnet", tmp_path / "a")
    assert len(model.classes) == 7
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(model(x), theirs(x))
    assert "does not fit timm:resnet10t" in failure("timm:resnet10t", tmp_path / "a")
    assert "did you mean random?" in failure("timm:resnet10t", "rndom")


@pytest.mark.usefixtures("timm")
def test_random_weights_of_timm_are_the_same_each_time_and_draw_no_numbers_of_the_caller():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = (load("timm:test_resnet", "random").state_dict() for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.usefixtures("timm", "silent_hub")
def test_published_weights_without_a_network_are_one_line():
    told = failure("timm:resnet10t", "download")
    assert "no download from http://127.0.0.1:9" in told
    assert "--weights FILE" in told
    assert "\n" not in told
    assert "no weights 'foo' of timm:resnet10t" in failure("timm:resnet10t.foo")
    assert "timm publishes no weights" in failure("timm:botnet50ts_256")


@pytest.mark.usefixtures("silent_hub")
def test_published_weights_of_timm_come_from_where_the_hub_keeps_them(timm, tmp_path):
    theirs = {key: value + 1 for key, value in timm.create_model("test_resnet").state_dict().items()}
    file = hub_folder(tmp_path / "hub", "timm/test_resnet.r160_in1k") / "model.safetensors"
    save_file(theirs, file)
    own = load("timm:test_resnet").state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in own.items())
    file.write_bytes(file.read_bytes()[:100])
    assert "cut short or damaged" in failure("timm:test_resnet")
